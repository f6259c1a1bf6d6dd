"""Average precision counted one threshold at a time."""

import numpy as np


def points(labels, scores) -> list[tuple[int, float]]:
    """Return positives found and precision at every score, of labels 1, 0 and -1 (which do not count)."""
    pairs = [(label, score) for label, score in zip(labels, scores, strict=True) if label != -1]
    found = [[label for label, score in pairs if score >= threshold] for _, threshold in pairs]
    return [(sum(label == 1 for label in labels), np.mean([label == 1 for label in labels]))
            for labels in found]


def slow_average_precision(labels, scores) -> float:
    """Return the area under the curve of the best precision at each recall or more."""
    curve = sorted(set(points(labels, scores)))
    total = sum(label == 1 for label in labels)
    area, before = 0.0, 0
    for found, _ in curve:
        area += (found - before) / total * max(precision for more, precision in curve if more >= found)
        before = found
    return area


def slow_eleven_point_average_precision(labels, scores) -> float:
    """Return the mean over recalls 0, 0.1 ... 1 of the best precision of any threshold that reaches it."""
    curve, total = points(labels, scores), sum(label == 1 for label in labels)
    return sum(max(precision for found, precision in curve if 10 * found >= tenth * total)
               for tenth in range(11)) / 11
