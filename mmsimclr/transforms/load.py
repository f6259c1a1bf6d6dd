"""Reading an image file as RGB uint8 H x W x 3, in full or as large as its crops need."""

import io
import math
import os
import struct
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from mmsimclr.errors import InputError, UserError, check_choice
from mmsimclr.files import MAX_IMAGE_BYTES, MAX_PIXELS, opened_image, read_regular
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import Transform, check_image
from mmsimclr.transforms.crop import Box

# Markers of frame headers (ITU-T T.81, table B.1): SOF0-SOF15 without DHT, JPG and DAC.
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# OpenCV's flags by reduction. Those of the colour reductions would mean BGR; these, with RGB, do not.
_FLAGS = {1: cv2.IMREAD_COLOR_RGB,
          2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
          4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
          8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB}


class ImageReadError(UserError, OSError):
    """An image could not be read; the message names the file and the reason."""


@TRANSFORMS.register_module()
class LoadImage(Transform):
    """Read ``img_path`` into ``img`` as RGB uint8 H×W×3; an ``img`` already there is kept.

    An ``img`` that is an encoded file's ``bytes`` is decoded; ``img_path`` is then its name in messages.

    The EXIF orientation is applied. Transparent pixels are composited on white, grey becomes three equal
    channels, and an animation gives its first frame. A file that is truncated, empty, foreign, or of more
    than 8 bits a channel raises :class:`ImageReadError`; it never becomes a half-grey or dark image.
    """

    def transform(self, results: dict) -> dict:
        """Fill ``img`` and ``ori_shape`` (height, width)."""
        img = results.get('img')
        if img is None:
            if results.get('img_path') is None:
                raise InputError('LoadImage needs results["img_path"] or results["img"]; '
                                 f'got the keys {sorted(results)}')
            img = read_image(results['img_path'])
        elif isinstance(img, bytes):
            img = decode_image(img, results.get('img_path', '<bytes>'))
        elif isinstance(img, Image.Image):
            img = _pil_to_rgb(img)
        elif isinstance(img, np.ndarray) and img.ndim == 2:
            img = cv2.cvtColor(img, cv2.COLOR_GRAY2RGB)
        results['img'] = check_image(img, 'LoadImage', needs_rgb=True)
        results['ori_shape'] = img.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadImageForCrops(LoadImage):
    """Read ``img_path`` as :class:`LoadImage` does, but leave JPEG files to be decoded for their crops.

    :class:`MultiView` or :class:`RandomView` must follow, and begin with :class:`RandomResizedCrop` or
    :class:`SimCLRView`. They draw the boxes of all views first, from the size in the file's header, and
    decode once, at 1/2 to 1/``max_reduction`` (1, 2, 4 or 8) of the size where no crop then has fewer pixels
    than its view. It pays for photographs of megapixels, or small views. The views of a seed are others
    than with :class:`LoadImage`.
    """

    def __init__(self, max_reduction: int = 8) -> None:
        self.max_reduction = check_choice(max_reduction, 'LoadImageForCrops.max_reduction', _FLAGS)

    def transform(self, results: dict) -> dict:
        """Fill ``img``, for a JPEG with an :class:`EncodedImage`, and ``ori_shape`` (height, width)."""
        data, name = results.get('img'), results.get('img_path', '<bytes>')
        if data is None and 'img_path' in results:
            data = read_bytes(name)
        if not isinstance(data, bytes) or not is_plain_jpeg(data):
            return super().transform({**results, 'img': data})
        try:
            results['img'] = EncodedImage(data, os.fspath(name), self.max_reduction)
        except Exception:                                      # a header that OpenCV may yet accept
            results['img'] = decode_image(data, os.fspath(name))
        results['ori_shape'] = results['img'].shape[:2]
        return results


class EncodedImage:
    """A complete JPEG, its size known, its pixels not decoded; ``name`` is for error messages."""

    def __init__(self, data: bytes, name: str, max_reduction: int) -> None:
        self._data = data
        self._name = name
        self._max_reduction = max_reduction
        with Image.open(io.BytesIO(data)) as header:           # reads no pixels
            width, height = header.size
            turned = header.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)        # quarter turns
        self.shape = (width, height) if turned else (height, width)

    def decode(self, reduction: int = 1) -> np.ndarray:
        """Return RGB uint8 [ceil(H / reduction), ceil(W / reduction), 3]."""
        img = cv2.imdecode(np.frombuffer(self._data, np.uint8), _FLAGS[reduction])
        if img is None:                                        # let it say why, or read it after all
            height, width = (-(-side // reduction) for side in self.shape)
            whole = decode_image(self._data, self._name)
            img = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        return img

    def decode_for(self, steps: Sequence[object]) -> tuple[np.ndarray, list[dict]]:
        """Draw the boxes of random crops, then decode at the smallest size at which none is enlarged.

        ``steps`` are the first ones of the views. Returns the image and the ``crop_box`` of each view; if a
        step has no ``draw_box``, the whole image and nothing.
        """
        if not all(hasattr(step, 'draw_box') for step in steps):
            return self.decode(), [{}] * len(steps)
        boxes = [step.draw_box(*self.shape) for step in steps]
        enough = min(min(height / step.size[0], width / step.size[1])
                     for step, (_, _, height, width) in zip(steps, boxes, strict=True))
        reduction = max(r for r in _FLAGS if r == 1 or r <= min(enough, self._max_reduction))
        img = self.decode(reduction)
        return img, [{'crop_box': _reduced(box, reduction, img.shape)} for box in boxes]


def _reduced(box: Box, reduction: int, shape: tuple[int, ...]) -> Box:
    top, left, height, width = box
    bottom = min(round((top + height) / reduction), shape[0])
    right = min(round((left + width) / reduction), shape[1])
    top, left = round(top / reduction), round(left / reduction)
    return top, left, bottom - top, right - left


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Return the image at ``path`` as RGB uint8 H×W×3, or raise :class:`ImageReadError`."""
    return decode_image(read_bytes(path), os.fspath(path))


def read_bytes(path: str | os.PathLike) -> bytes:
    """Return the content of the image file at ``path``, or raise :class:`ImageReadError`."""
    try:
        return read_regular(path, MAX_IMAGE_BYTES)
    except InputError as error:
        raise ImageReadError(f'cannot read image {error}') from error
    except OSError as error:
        failure = ImageReadError(f'cannot read image {os.fspath(path)}: {error.strerror}')
        failure.errno = error.errno                  # a shortage of the machine is no fault of the image
        raise failure from error


def decode_image(data: bytes, name: str = '<bytes>') -> np.ndarray:
    """Return encoded ``data`` as RGB uint8 H×W×3; ``name`` is for the error message.

    OpenCV, the fastest, decodes whole JPEG and PNG files; Pillow all else, since OpenCV may return a partly
    grey image where it refuses.
    """
    if not data:
        raise ImageReadError(f'cannot read image {name}: the file is empty')
    if is_plain_jpeg(data) or _is_plain_png(data):
        img = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if img is not None:
            return img
    try:
        with opened_image(data) as img:
            return _pil_to_rgb(img)
    except MemoryError:
        raise
    except Exception as error:  # decoders of foreign bytes raise almost anything
        reason = 'not an image in a known format' if isinstance(
            error, Image.UnidentifiedImageError) else str(error) if isinstance(
            error, UserError) else f'{type(error).__name__}: {error}'
        raise ImageReadError(f'cannot read image {name}: {reason}') from error


def is_plain_jpeg(data: bytes) -> bool:
    """Tell whether ``data`` is a JPEG of one or three components, of a sane size, with its end marker."""
    if data[:2] != b'\xff\xd8' or data[-2:] != b'\xff\xd9':
        return False
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack('>HH', data[position + 5:position + 9])
            return data[position + 9] in (1, 3) and height * width <= MAX_PIXELS
        position += 2 + int.from_bytes(data[position + 2:position + 4], 'big')
    return False


def _is_plain_png(data: bytes) -> bool:
    """Tell whether ``data`` is a complete 8-bit grey or RGB PNG of a sane size without transparency."""
    return (data[:8] == b'\x89PNG\r\n\x1a\n' and data[-8:-4] == b'IEND'
            and data[24:25] == b'\x08' and data[25:26] in (b'\x00', b'\x02')
            and math.prod(struct.unpack('>II', data[16:24])) <= MAX_PIXELS
            and b'tRNS' not in data[:4096])


def _pil_to_rgb(img: Image.Image) -> np.ndarray:
    # Pillow turns colours of 16 bits into 8 as it decodes; until then a tile's arguments name them.
    if img.mode[0] in 'IF' or any(';16' in str(tile.args) for tile in getattr(img, 'tile', ())):
        raise InputError('it has more than 8 bits a channel, or floats, and photographs of 8 bits are '
                         'expected. The configs ..._multiband.py read it with all its bits (LoadChannels); '
                         'or convert it to 8 bits')
    img = ImageOps.exif_transpose(img)
    if img.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in img.info:
        img = img.convert('RGBA')
        img = Image.alpha_composite(Image.new('RGBA', img.size, 'white'), img)
    return np.array(img.convert('RGB'))
