"""Reading a JPEG no larger than its random crops need."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.crop import Box, RandomResizedCrop
from mmsimclr.transforms.load import LoadImage, decode_image, is_plain_jpeg, read_bytes

# OpenCV's flags. Those of the colour reductions would mean BGR; these, with RGB, do not.
_FLAGS = {1: cv2.IMREAD_COLOR_RGB,
          2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
          4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
          8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB}
_ORIENTATION = 0x0112                                          # the EXIF tag; from 5 on, sides are swapped


@TRANSFORMS.register_module()
class LoadImageForCrops(LoadImage):
    """Read ``img_path`` as :class:`LoadImage` does, but leave JPEG files to be decoded for their crops.

    :class:`MultiView` or :class:`RandomView` must follow, and begin with :class:`RandomResizedCrop` or
    :class:`SimCLRView`. They draw the boxes of all views first, from the size in the file's header, and
    decode once, at a half, a quarter or an eighth of the size where no crop then has fewer pixels than its
    view. It pays where crops are much larger than views: photographs of megapixels, or small views. The
    views of a seed are others than :class:`LoadImage` gives, since the boxes are drawn before all else.

    Args:
        max_reduction: Largest divisor of the size: 1 (decode in full), 2, 4 or 8.
    """

    def __init__(self, max_reduction: int = 8) -> None:
        if max_reduction not in _FLAGS:
            raise ValueError(f'LoadImageForCrops.max_reduction must be one of {tuple(_FLAGS)}, '
                             f'got {max_reduction!r}')
        self.max_reduction = max_reduction

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
    """A complete JPEG, its size known, its pixels not decoded.

    Args:
        data: The file's content.
        name: For the message of :class:`ImageReadError`.
        max_reduction: Largest divisor of the size.
    """

    def __init__(self, data: bytes, name: str, max_reduction: int) -> None:
        self._data = data
        self._name = name
        self._max_reduction = max_reduction
        with Image.open(io.BytesIO(data)) as header:           # reads no pixels
            width, height = header.size
            turned = header.getexif().get(_ORIENTATION, 1) >= 5
        self.shape = (width, height) if turned else (height, width)

    def decode(self, reduction: int = 1) -> np.ndarray:
        """Return RGB uint8 [ceil(H / reduction), ceil(W / reduction), 3]."""
        img = cv2.imdecode(np.frombuffer(self._data, np.uint8), _FLAGS[reduction])
        if img is None:                                        # let it say why, or read it after all
            height, width = (-(-side // reduction) for side in self.shape)
            whole = decode_image(self._data, self._name)
            img = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        return img

    def decode_for(self, crops: Sequence[RandomResizedCrop]) -> tuple[np.ndarray, list[Box]]:
        """Draw the crops' boxes, then decode at the smallest size at which none has to be enlarged for it.

        Returns:
            The image, and the boxes in it, their edges rounded to its pixels.
        """
        boxes = [crop.get_params(*self.shape) for crop in crops]
        enough = min(min(height / crop.size[0], width / crop.size[1])
                     for crop, (_, _, height, width) in zip(crops, boxes, strict=True))
        reduction = max(r for r in _FLAGS if r == 1 or r <= min(enough, self._max_reduction))
        img = self.decode(reduction)
        return img, [_reduced(box, reduction, img.shape) for box in boxes]


def _reduced(box: Box, reduction: int, shape: tuple[int, ...]) -> Box:
    top, left, height, width = box
    bottom = min(round((top + height) / reduction), shape[0])
    right = min(round((left + width) / reduction), shape[1])
    top, left = round(top / reduction), round(left / reduction)
    return top, left, bottom - top, right - left
