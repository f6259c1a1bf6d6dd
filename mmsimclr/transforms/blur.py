"""Gaussian blur."""

import math
import random
from collections.abc import Sequence

import cv2
import numpy as np

from mmsimclr.errors import InputError
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import ImageTransform, check_probability, check_range

#: Beyond three sigmas a Gaussian weighs less than 1 % of its centre.
TAPS_SIGMAS = 3.0


@TRANSFORMS.register_module()
class GaussianBlur(ImageTransform):
    """Blur with a sigma uniform in ``sigma``, with probability ``prob``.

    The kernel is at most that fraction of the image's height, to the next odd number; the paper has 10 % (23
    at 224).

    Source:
        Chen et al. 2020, appendix A.
    """

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0), prob: float = 0.5,
                 kernel_size_fraction: float = 0.1) -> None:
        self.sigma = check_range(sigma, 'GaussianBlur.sigma', open_low=True)
        self.prob = check_probability(prob, 'GaussianBlur.prob')
        if not 0 < kernel_size_fraction <= 1:
            raise InputError('GaussianBlur.kernel_size_fraction must be in ]0, 1], '
                             f'got {kernel_size_fraction!r}')
        self.kernel_size_fraction = kernel_size_fraction

    def get_params(self) -> float:
        """Draw a sigma, in pixels."""
        return random.uniform(*self.sigma)

    def apply(self, img: np.ndarray) -> np.ndarray:
        if random.random() >= self.prob:
            return img
        radius = int(img.shape[0] * self.kernel_size_fraction) // 2
        return gaussian_blur(img, self.get_params(), 2 * radius + 1)


def gaussian_blur(img: np.ndarray, sigma: float, kernel_size: int) -> np.ndarray:
    """Return ``img`` blurred, mirrored at the border as torchvision does.

    The kernel is as long as ``sigma`` (in pixels, > 0) needs, 3 sigmas to each side, and at most
    ``kernel_size`` pixels, odd. Where the blur is below half a grey level, ``img`` itself is returned.
    """
    radius = min(kernel_size // 2, math.ceil(TAPS_SIGMAS * sigma))
    neighbour = math.exp(-0.5 / sigma**2)                # weight of the next pixel, relative to the centre
    if radius == 0 or 4 * neighbour * 255 < 0.5:
        return img
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    return cv2.sepFilter2D(img, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101).reshape(img.shape)
