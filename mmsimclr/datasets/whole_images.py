"""Whether the image files that annotations name are whole, and how large they are when loaded."""

from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112                         # EXIF 2.3, table 4
TURNED_BY_A_QUARTER = (5, 6, 7, 8)
# How a whole file ends, but for what cameras and editors append.
ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND'}
TAIL_BYTES = 4096
PILLOWS_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class UnreadableImageError(ValueError):
    """A file that is not an image, or not all of one."""


def image_size(path: Path) -> tuple[int, int]:
    """Return an image's width and height in pixels, as OpenCV loads it: turned as its EXIF entry says.

    Decoding all images of a large set takes minutes, so only those are decoded whose end is missing.

    Raises:
        UnreadableImageError: If the file is not an image, or not all of one.
    """
    try:
        with Image.open(path) as image:
            if not _has_its_end(path, image.format):
                image.load()
            width, height = image.size
            is_turned = image.getexif().get(ORIENTATION) in TURNED_BY_A_QUARTER
    except PILLOWS_ERRORS as error:
        raise UnreadableImageError(f'{path} is not an image that can be read: {error}') from error
    return (height, width) if is_turned else (width, height)


def read_mask(path: Path) -> np.ndarray:
    """Return a mask of classes, [H, W], the numbers as they are in the file.

    Raises:
        ValueError: If the file cannot be read, or has colours in place of numbers.
    """
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except PILLOWS_ERRORS as error:
        raise ValueError(f'{path} is not a mask that can be read: {error}') from error
    if mask.ndim != 2:
        raise ValueError(f'{path} has {mask.shape[2]} channels, and a mask has one: the number of the class '
                         'of each pixel (a gray or palette image); convert its colours to numbers')
    return mask


def _has_its_end(path: Path, kind: str | None) -> bool:
    if kind not in ENDS:
        return False
    with open(path, 'rb') as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return ENDS[kind] in file.read()
