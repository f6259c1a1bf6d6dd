"""Images of any number of channels and any depth of numbers: reading them, and showing them in colours."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy import ndarray
from PIL import Image

from mmsimclr.errors import InputError, MachineError, UserError, check_choice, check_int
from mmsimclr.files import KEPT_DTYPES, Raster, decode_raster, picture_values, raster_of
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import Transform
from mmsimclr.transforms.load import ImageReadError, read_bytes

_ACCEPTED = ("a pair of numbers, such as (0, 10000), or of lists with a number for each channel; a pair of "
             "percents of an image's own values, such as ('1%', '99%'); 'dtype', the whole range of a file's "
             "type, 0 to 1 of floats; or 'window', that of a DICOM file")


def read_raster(path: str | os.PathLike, channels: int | None = None, data: bytes | None = None) -> Raster:
    """Return the values of an image file as they are, all bits of them, or raise ImageReadError.

    ``data`` is its content, where it has been read; ``path`` is then for messages.
    """
    try:
        return decode_raster(read_bytes(path) if data is None else data, channels)
    except (MemoryError, MachineError, ImageReadError):
        raise
    except Exception as error:                     # decoders of foreign bytes raise almost anything
        reason = str(error) if isinstance(error, UserError) else f'{type(error).__name__}: {error}'
        raise ImageReadError(f'cannot read image {os.fspath(path)}: {reason}') from error


@TRANSFORMS.register_module()
class LoadChannels(Transform):
    """Read ``img_path`` into ``img``, float32 [H, W, channels] from 0 to 255; an array ``img`` is scaled so.

    Nothing is rounded, and the model sees 0 and 255 as 0 and 1.

    It reads TIFF, also of many bands or pages, compressed and GeoTIFF; PNG of 8 and 16 bits, ``.npy``, DICOM,
    and whatever Pillow reads. Values outside of ``value_range`` are clipped, and ``clipped`` says what share
    of them, from 0 to 1. A file of other channels or another type raises :class:`ImageReadError`.

    Args:
        channels: Number of channels, >= 1.
        value_range: Which values become 0 and 255: a pair of numbers, or of lists with one for each channel;
            a pair of percents of each image's own values, by channel, such as ``('1%', '99%')``; 'dtype',
            the range of the file's type (0 to 1 of floats); 'window', that of a DICOM file.
        dtype: Type of the files' values: 'uint8', 'uint16', 'int16' or 'float32', which stands for all others
            and for DICOM; None for any. In a run, None becomes the type of the first image.
    """

    def __init__(self, channels: int, value_range: str | Sequence = 'dtype', dtype: str | None = None
                 ) -> None:
        self.channels = check_int(channels, 'LoadChannels.channels')
        self._percents, self._bounds = _parse_range(value_range, channels)
        self.value_range = value_range
        self.dtype = dtype if dtype is None else check_choice(dtype, 'LoadChannels.dtype', KEPT_DTYPES)

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments, as plain values, of a step that reads images in the same way."""
        return dict(channels=self.channels, dtype=self.dtype, value_range=self.value_range if isinstance(
            self.value_range, str) else [np.asarray(each).tolist() for each in self.value_range])

    def fix_dtype(self, items: Iterable[dict]) -> None:
        """Have all images be of the type of the first of these that can be read, where no type is given."""
        for item in items if self.dtype is None else ():
            with suppress(ImageReadError):
                self.dtype = self._raster(item).values.dtype.name
                return

    def transform(self, results: dict) -> dict:
        """Fill ``img``, ``ori_shape`` (height, width) and ``clipped``."""
        raster, name = self._raster(results), results.get('img_path', 'the image')
        values = raster.values
        if values.shape[2] != self.channels or self.dtype not in (None, values.dtype.name):
            raise ImageReadError(
                f'cannot read image {os.fspath(name)}: it has {values.shape[2]} channels of '
                f'{values.dtype}, and {self.channels} of {self.dtype or "any type"} are expected (channels, '
                'dtype)')
        try:
            low, high = self._limits(raster)
        except InputError as error:
            raise ImageReadError(f'cannot read image {os.fspath(name)}: {error}') from error
        img = values.astype(np.float32)
        results['clipped'] = float(np.mean((img < low) | (img > high)))
        # Of an image of one value, or a channel of one, nothing is to be told apart.
        img = (img - low) * np.divide(255, high - low, where=high > low, out=np.zeros_like(high))
        np.clip(img, 0, 255, out=img)
        results['img'] = 255 - img if raster.inverted else img
        results['ori_shape'] = img.shape[:2]
        return results

    def _raster(self, results: dict) -> Raster:
        img, name = results.get('img'), os.fspath(results.get('img_path', '<array>'))
        if img is None and 'img_path' not in results:
            raise InputError('LoadChannels needs results["img_path"] or results["img"]; '
                             f'got the keys {sorted(results)}')
        if isinstance(img, Image.Image):
            img = picture_values(img)
        if isinstance(img, ndarray):
            return raster_of(img, self.channels)
        return read_raster(name, self.channels, img)

    def _limits(self, raster: Raster) -> tuple[ndarray, ndarray]:
        """Return what becomes 0 and 255, float32 [C] or [1] each."""
        if self._percents is not None:
            return np.percentile(raster.values, self._percents, axis=(0, 1)).astype(np.float32)
        if self._bounds is not None:
            return self._bounds
        if self.value_range == 'window':
            if raster.window is None:
                raise InputError("it says no window of its values (value_range='window')")
            limits = raster.window
        elif raster.values.dtype.kind == 'f':
            limits = 0, 1
        else:
            limits = np.iinfo(raster.values.dtype).min, np.iinfo(raster.values.dtype).max
        return np.array(limits, np.float32).reshape(2, 1)


def _parse_range(value: Any, channels: int) -> tuple[list[float] | None, ndarray | None]:
    """Return the percents of a value range, or its numbers, float32 [2, C] or [2, 1]; else None.

    Raises:
        InputError: If it is of no known form, or its ends are reversed.
    """
    if isinstance(value, str) and value in ('dtype', 'window'):
        return None, None
    try:
        low, high = value
        if isinstance(low, str):
            percents = [float(end.removesuffix('%')) for end in (low, high) if end.endswith('%')]
            if len(percents) == 2 and 0 <= percents[0] < percents[1] <= 100:
                return percents, None
        else:
            bounds = np.stack([np.broadcast_to(np.asarray(end, np.float32), (
                channels if np.ndim(low) or np.ndim(high) else 1,)) for end in (low, high)])
            if np.isfinite(bounds).all() and (bounds[0] < bounds[1]).all():
                return None, bounds
    except (TypeError, ValueError, AttributeError):
        pass
    raise InputError(f'value_range must be {_ACCEPTED}; got {value!r}')


def as_rgb(img: ndarray, bands: Sequence[int] | None = None, colormap: str | None = None,
           limits: tuple[ndarray, ndarray] | None = None) -> ndarray:
    """Return an image as RGB, uint8 [H, W, 3], for people; one of 8-bit RGB stays as it is.

    Args:
        img: uint8 or float32 [H, W, C], on the scale of 0 to 255.
        bands: Three channels to show as red, green and blue, or one; by default the first ones.
        colormap: Name of a colour map of OpenCV's, such as 'viridis', for one channel.
        limits: Values to show as black and white, as of :func:`shown_limits`; by default 0 and 255.
    """
    if bands is None and colormap is None and img.dtype == np.uint8 and img.shape[2] == 3:
        return img
    chosen = list(bands or range(3 if img.shape[2] >= 3 and colormap is None else 1))
    if len(chosen) not in (1, 3) or not all(0 <= band < img.shape[2] for band in chosen):
        raise InputError(f'bands must be one or three channels of 0 to {img.shape[2] - 1}, got {chosen}')
    low, high = (0, 255) if limits is None else (end[chosen] for end in limits)
    shown = (img[:, :, chosen] - np.float32(low)) * (255 / np.maximum(high - low, 1e-6))
    shown = np.rint(shown).clip(0, 255).astype(np.uint8)
    if colormap is None:
        return np.ascontiguousarray(np.broadcast_to(shown, (*img.shape[:2], 3)))
    number = getattr(cv2, f'COLORMAP_{colormap.upper()}', None)
    if number is None or len(chosen) != 1:
        raise InputError('colormap must be the name of one of OpenCV, such as viridis or bone, for one band; '
                         f'got {colormap!r} for {len(chosen)}')
    return cv2.applyColorMap(shown, number)[:, :, ::-1]


def shown_limits(img: ndarray) -> tuple[ndarray, ndarray] | None:
    """Return the values of each channel to show as black and white, of what is no 8-bit image; see as_rgb.

    One in a hundred is darker, one in a hundred brighter.
    """
    return None if img.dtype == np.uint8 else tuple(np.percentile(img, (1, 99), axis=(0, 1)))
