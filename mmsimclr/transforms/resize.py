"""Resizing, and the two deterministic crops of evaluation."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from mmsimclr.errors import InputError, check_choice, check_int
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import ImageTransform, check_size

INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST_EXACT,
    'bilinear': cv2.INTER_LINEAR_EXACT,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
}
# What torch.nn.functional.interpolate(antialias=True) calls; it takes no ``out``.
_ANTIALIASED = {
    'bilinear': torch.ops.aten._upsample_bilinear2d_aa.out,
    'bicubic': torch.ops.aten._upsample_bicubic2d_aa.out,
}


def resize(img: np.ndarray, size: tuple[int, int], interpolation: str = 'bicubic',
           antialias: bool = True) -> np.ndarray:
    """Return ``img``, [H, W, C], resized to ``size``, (height, width); itself if it has that size.

    With ``antialias`` the bilinear and bicubic filters widen when shrinking, as in Pillow (equal to it within
    2 grey levels), torchvision and OpenMMLab. Without, OpenCV's filters have a fixed width, as TensorFlow's
    in the official code (there bicubic has a = -0.5, here a = -0.75). The others ignore ``antialias``.
    """
    height, width = size
    if img.shape[:2] == (height, width):
        return np.ascontiguousarray(img)
    if not antialias or interpolation not in _ANTIALIASED:
        result = cv2.resize(img, (width, height), interpolation=INTERPOLATIONS[interpolation])
        return result if img.dtype == np.uint8 else result.reshape(height, width, -1).clip(0, 255)
    result = np.empty((height, width, img.shape[2]), img.dtype)
    _ANTIALIASED[interpolation](_as_batch(np.ascontiguousarray(img)), [height, width], False,
                                out=_as_batch(result))
    return result if img.dtype == np.uint8 else result.clip(0, 255)        # bicubic overshoots at edges


def _as_batch(img: np.ndarray) -> torch.Tensor:
    """Return [H, W, C] as a view [1, C, H, W], in the layout that torch's kernel is fastest in."""
    return torch.from_numpy(img.transpose(2, 0, 1)[None])


@TRANSFORMS.register_module()
class ResizeShortSide(ImageTransform):
    """Resize the shorter side to ``size`` pixels by :func:`resize`; round the longer down, as torchvision."""

    def __init__(self, size: int, interpolation: str = 'bicubic', antialias: bool = True) -> None:
        self.size = check_int(size, 'ResizeShortSide.size')
        self.interpolation = check_choice(interpolation, 'ResizeShortSide.interpolation', INTERPOLATIONS)
        self.antialias = antialias

    def apply(self, img: np.ndarray) -> np.ndarray:
        height, width = img.shape[:2]
        short = min(height, width)
        size = int(self.size * height / short), int(self.size * width / short)
        return resize(img, size, self.interpolation, self.antialias)


@TRANSFORMS.register_module()
class Resize(ImageTransform):
    """Resize by :func:`resize` to exactly ``size``, a side or (height, width) in pixels."""

    def __init__(self, size: int | Sequence[int], interpolation: str = 'bicubic',
                 antialias: bool = True) -> None:
        self.size = check_size(size, 'Resize.size')
        self.interpolation = check_choice(interpolation, 'Resize.interpolation', INTERPOLATIONS)
        self.antialias = antialias

    def apply(self, img: np.ndarray) -> np.ndarray:
        return resize(img, self.size, self.interpolation, self.antialias)


@TRANSFORMS.register_module()
class CenterCrop(ImageTransform):
    """Cut out the centre: ``size`` is its side or (height, width) in pixels, at most those of the image."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = check_size(size, 'CenterCrop.size')

    def apply(self, img: np.ndarray) -> np.ndarray:
        height, width = self.size
        if height > img.shape[0] or width > img.shape[1]:
            raise InputError(f'CenterCrop.size {height}×{width} does not fit into an image of '
                             f'{img.shape[0]}×{img.shape[1]}; put ResizeShortSide before it')
        # round, half to even, as torchvision does.
        top, left = round((img.shape[0] - height) / 2), round((img.shape[1] - width) / 2)
        return img[top:top + height, left:left + width]
