"""A folder of small images in two classes, to be put into shards."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = [(20, 30), (31, 17), (16, 16)]


def write_folder(root: Path, count: int = 11) -> dict[bytes, tuple[str, int]]:
    """Write images; return the path below the root and the class of each, by its content."""
    written = {}
    generator = np.random.default_rng(0)
    for number in range(count):
        name = f'{"cat" if number % 3 else "bird"}/{number}.{"png" if number % 2 else "JPG"}'
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = SIZES[number % len(SIZES)]
        Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        written[path.read_bytes()] = name, int(number % 3 > 0)
    return written
