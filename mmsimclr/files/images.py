"""Guarded opening of image files by Pillow: pixel formats only, regular files of a bounded size only."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image

from mmsimclr.errors import InputError
from mmsimclr.files.reading import open_regular

# What a decompression bomb claims to have; Pillow's own limit, which it applies to what it decodes.
MAX_PIXELS = 2 * 89_478_485
# The largest image, uncompressed, with four channels.
MAX_IMAGE_BYTES = 4 * MAX_PIXELS
# Formats of pictures in pixels: Pillow would hand an EPS file, which is a program, to Ghostscript.
FORMATS = {'JPEG', 'PNG', 'GIF', 'WEBP', 'BMP', 'DIB', 'TIFF', 'PPM', 'JPEG2000', 'AVIF', 'ICO', 'TGA'}


@contextmanager
def opened_image(source: str | os.PathLike | bytes) -> Iterator[Image.Image]:
    """Open an image file, or its bytes, with its header read; nothing is decoded yet.

    Raises:
        InputError: If it is no regular file, or larger than the largest image is.
        Exception: Whatever Pillow raises; decoders of foreign bytes raise almost anything.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
        if (size := file.seek(0, os.SEEK_END)) > MAX_IMAGE_BYTES:
            raise InputError(f'{size:,} bytes, more than {MAX_IMAGE_BYTES:,}')
        file.seek(0)
        with Image.open(file, formats=_known_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f'{image.width} x {image.height} pixels, more than {MAX_PIXELS}')
            yield image


@cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(FORMATS & set(Image.OPEN))
