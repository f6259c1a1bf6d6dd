"""Guarded reading of images of any number of channels with all their bits."""

import io
import logging
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy import ndarray
from PIL import Image, ImageOps

from mmsimclr.errors import InputError, MachineError, needing
from mmsimclr.files.arrays import array_of_npy
from mmsimclr.files.reading import MAX_IMAGE_BYTES, opened_image

#: First bytes of TIFF and BigTIFF, in both byte orders.
TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_MIN_IS_WHITE, _PALETTE = 0, 3                       # TIFF 6.0, PhotometricInterpretation
#: Types of numbers that images keep; others become float32.
KEPT_DTYPES = ('uint8', 'uint16', 'int16', 'float32')


@dataclass(frozen=True)
class Raster:
    """The values of an image file.

    Attributes:
        values: [H, W, C] of uint8, uint16, int16 or float32, finite; other numbers have become float32.
        window: The lowest and the highest value that are to be told apart, where a DICOM file says so.
        inverted: Whether the lowest value is white.
    """

    values: ndarray
    window: tuple[float, float] | None = None
    inverted: bool = False


def decode_raster(data: bytes, channels: int | None = None) -> Raster:
    """Return the image in the bytes of a file; ``channels``, where known, tells bands from rows.

    It is TIFF with any number of bands or pages, PNG of 8 and 16 bits, ``.npy``, DICOM, or what Pillow reads.
    A file claims its size before anything of it is decoded, and no more is decoded than it claims. Of DICOM
    the rescale slope and intercept are applied; colours are in the order red, green, blue.

    Raises:
        MachineError: If a package is missing.
        Exception: Whatever the decoders raise of foreign bytes, and InputError.
    """
    if not data:
        raise InputError('the file is empty')
    window, inverted = None, False
    if data.startswith(b'\x93NUMPY'):
        return raster_of(array_of_npy(data), channels)
    if data[128:132] == b'DICM':                                 # what is before it may begin as TIFF does
        values, window, inverted = _decode_dicom(data)
    elif data.startswith(TIFF_STARTS):
        values, inverted = _decode_tiff(data, channels)
    else:
        values = _decode_picture(data)
    return Raster(_checked(values), window, inverted)


def raster_of(values: ndarray, channels: int | None = None) -> Raster:
    """Return an array as an image, or raise InputError.

    Of three axes the last are the channels, or the first: the one of length ``channels``, or the shorter one.
    """
    first, last = (values.shape[0], values.shape[2]) if values.ndim == 3 else (0, 0)
    if last != channels and (first == channels or (channels is None and first < last)):
        values = values.transpose(1, 2, 0)
    return Raster(_checked(values))


def _checked(values: ndarray) -> ndarray:
    """Return an image, [H, W] or [H, W, C], as :class:`Raster` has its values."""
    if values.dtype.kind not in 'uif' or values.ndim not in (2, 3) or not values.size:
        raise InputError(f'it is an array of {values.dtype} and shape {list(values.shape)}, and images of '
                         'numbers with two or three axes are read')
    _check_size(values.nbytes)
    # Also in the byte order of this machine.
    kind = values.dtype.name if values.dtype.name in KEPT_DTYPES else 'float32'
    values = np.ascontiguousarray(values.reshape(*values.shape[:2], -1), kind)
    if kind == 'float32' and not np.isfinite(values).all():
        raise InputError('it has pixels that are NaN, infinite or beyond float32; give missing pixels a '
                         'number, such as the lowest one')
    return values


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_IMAGE_BYTES:
        raise InputError(f'it claims {num_bytes:,} bytes decoded, more than {MAX_IMAGE_BYTES:,}')


def _decode_tiff(data: bytes, channels: int | None) -> tuple[ndarray, bool]:
    """Return the first page and all like it, with their bands, as [H, W, C]; and whether 0 is white."""
    with needing('images', 'reading TIFF'):
        import tifffile
    if not (log := logging.getLogger('tifffile')).level:         # which tells of each odd tag
        log.setLevel(logging.CRITICAL)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first = file.series[0]
        if first.keyframe.photometric == _PALETTE:           # numbers of colours, which Pillow looks up
            return _decode_picture(data), False
        # Smaller copies and masks are series of their own; so may be each page.
        alike = [each for each in file.series if (each.shape, each.dtype) == (first.shape, first.dtype)]
        _check_size(len(alike) * math.prod(first.shape) * first.dtype.itemsize)
        for each in alike:                                   # a strip or tile may claim more than its page
            _check_size(math.prod(each.keyframe.chunks) * first.dtype.itemsize)
            if any(start + count > len(data) for page in each.pages if page is not None
                   for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
                raise InputError('it is cut off: pixels lie behind its end')
        try:
            parts = [each.asarray(maxworkers=1) for each in alike]
        except ValueError as error:
            if 'imagecodecs' in str(error):
                raise MachineError(f"reading this TIFF needs imagecodecs ({error}): pip install "
                                   "'mmsimclr[images]'") from error
            raise
        axes, inverted = first.axes, first.keyframe.photometric == _MIN_IS_WHITE
    shape = parts[0].shape
    # Bands that were written last, without saying so, have become the columns of as many pages as rows.
    if len(parts) > 1 or len(shape) != 3 or 'S' in axes or shape[2] != channels or shape[0] == channels:
        parts = [np.moveaxis(part, (axes.index('Y'), axes.index('X')), (0, 1)) for part in parts]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2), inverted


def _decode_dicom(data: bytes) -> tuple[ndarray, tuple[float, float] | None, bool]:
    """Return the rescaled values as float32, the window and whether the lowest value is white.

    Source:
        DICOM PS3.3, C.7.9 (palette), C.11.1.1 (rescale, or a table in its place) and C.11.2.1 (window).
    """
    with needing('images', 'reading DICOM'):
        import pydicom
        from pydicom.pixels import apply_color_lut, apply_modality_lut
    dataset = pydicom.dcmread(io.BytesIO(data))
    frames, samples = int(dataset.get('NumberOfFrames') or 1), int(dataset.SamplesPerPixel)
    _check_size(dataset.Rows * dataset.Columns * samples * frames * dataset.BitsAllocated // 8)
    is_palette = dataset.get('PhotometricInterpretation') == 'PALETTE COLOR'
    values = (apply_color_lut if is_palette else apply_modality_lut)(dataset.pixel_array, dataset)
    if frames > 1:
        values = np.moveaxis(values, 0, -1).reshape(*values.shape[1:3], -1)
    window, function = None, dataset.get('VOILUTFunction', 'LINEAR')
    if 'WindowCenter' in dataset and 'WindowWidth' in dataset and function in ('LINEAR', 'LINEAR_EXACT'):
        centre, width = (float(np.atleast_1d(dataset[name].value)[0]) for name in (
            'WindowCenter', 'WindowWidth'))
        if function == 'LINEAR':
            centre, width = centre - 0.5, width - 1
        window = centre - width / 2, centre + width / 2
    return values.astype(np.float32), window, dataset.get('PhotometricInterpretation') == 'MONOCHROME1'


def _decode_picture(data: bytes) -> ndarray:
    """Return an image of a format of Pillow's, which has 8 of the 16 bits of a PNG; OpenCV has all."""
    with opened_image(data) as picture:
        if picture.format == 'PNG':
            picture.verify()                                     # checksums; OpenCV fills what is cut off
            values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if values is None:
                raise InputError('OpenCV does not decode it')
            return values if values.ndim == 2 else values[:, :, [2, 1, 0, 3][:values.shape[2]]]
        return picture_values(picture)


def picture_values(picture: Image.Image) -> ndarray:
    """Return the values of an image of Pillow's, upright; colours of other kinds become RGB."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] not in 'LIF' and picture.mode not in ('RGB', 'RGBA'):
        picture = picture.convert('RGB')
    return np.asarray(picture)


def is_raster(data: bytes) -> bool:
    """Whether a file that begins so may have other channels than colours, or more than 8 bits of each."""
    return data.startswith((b'\x93NUMPY', *TIFF_STARTS)) or data[128:132] == b'DICM' or (
        data.startswith(b'\x89PNG') and data[24:25] == b'\x10')
