"""The official code's random crop, one box at a time: each step of TensorFlow's kernel, in its precision."""

from collections.abc import Iterator

import numpy as np

F = np.float32
ATTEMPTS = 100


def nearest(value) -> int:
    """Round to the nearest integer, halves to the even one, as lrintf does."""
    return int(np.rint(F(value)))


def one_attempt(height: int, width: int, aspect, area_range, of_rows: float, of_top: float, of_left: float):
    """Return (top, left, height, width), or None if no box of this aspect is found."""
    least_area = F(F(F(area_range[0]) * F(width)) * F(height))
    most_area = F(F(F(area_range[1]) * F(width)) * F(height))
    rows = nearest(np.sqrt(F(least_area / aspect)))
    most_rows = nearest(np.sqrt(F(most_area / aspect)))
    if nearest(F(most_rows) * aspect) > width:
        most_rows = int((width + 0.5 - float(F(0.0000001))) / float(aspect))
        if nearest(F(most_rows) * aspect) > width:
            most_rows -= 1
    most_rows = min(most_rows, height)
    rows = min(rows, most_rows)
    if rows < most_rows:
        rows += int(of_rows * (most_rows - rows + 1))
    columns = nearest(F(rows) * aspect)
    if F(rows * columns) < least_area:
        rows += 1
        columns = nearest(F(rows) * aspect)
    if F(rows * columns) > most_area:
        rows -= 1
        columns = nearest(F(rows) * aspect)
    area = F(rows * columns)
    if area < least_area or area > most_area or columns > width or rows > height or columns < 1 or rows < 1:
        return None
    top = int(of_top * (height - rows)) if rows < height else 0
    left = int(of_left * (width - columns)) if columns < width else 0
    return top, left, rows, columns


def slow_box(height: int, width: int, draws: Iterator[float], out_height: int = 224, out_width: int = 224,
             area_range=(0.08, 1.0), ratio=(3 / 4, 4 / 3), min_covered: float = 0.1):
    """Return the box of the official crop_and_resize; ``draws`` yields four numbers for each attempt."""
    low, high = (F(bound * (out_width / out_height)) for bound in ratio)
    for _ in range(ATTEMPTS):
        of_aspect, of_rows, of_top, of_left = (next(draws) for _ in range(4))
        aspect = F(F(F(of_aspect) * F(high - low)) + low)
        box = one_attempt(height, width, aspect, area_range, of_rows, of_top, of_left)
        if box and F(F(box[2] * box[3]) / F(height * width)) >= F(min_covered):
            return box
    return 0, 0, height, width
