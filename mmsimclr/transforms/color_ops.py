"""The colour operations with given factors, fused where that is exact.

Brightness, contrast and saturation are one family: with g the grey of a pixel and 1 the white
vector, each maps x to ``a·x + b·g(x)·1 + c·1``. Since g is linear and g(1) = 1, the family is
closed under composition, on three scalars. So neighbours in the order are composed and applied in
one pass over the pixels. The operations clip to [0, 255], and clipping does not compose: a group is
closed after an operation that can leave the range (a factor above 1), so the fused result differs
from the step-by-step one by rounding only. Hue needs HSV and stands alone.

Measured on photographs against torchvision on float images (mean, largest difference in grey
levels): brightness, contrast 0.2, 0.6; saturation 0.2, 0.8; hue 0.2, 7 (hue has 256 steps); all
four in random order 0.4, 8.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import cv2
import numpy as np

# ITU-R BT.601, to the four digits that torchvision and TensorFlow use.
_LUMA = (0.2989, 0.587, 0.114)
# The four digits sum to 0.9999; the grey of white is to be white.
_RED, _GREEN, _BLUE = (weight / sum(_LUMA) for weight in _LUMA)


def adjust_color(img: np.ndarray, factors: Sequence[tuple[str, float]]) -> np.ndarray:
    """Return ``img`` after the named operations, in the given order.

    Args:
        img: uint8 [H, W, 3], RGB.
        factors: Pairs (operation, factor); the operations are the keys of :data:`OPERATIONS`.

    Returns:
        uint8 [H, W, 3]; ``img`` itself if nothing is to be done.
    """
    group = None
    for name, factor in factors:
        if name in ('brightness', 'contrast', 'saturation'):
            group = group or _AffineGroup(img)
            getattr(group, name)(factor)
            if factor > 1:
                img, group = group.apply(), None
        else:
            if group:
                img, group = group.apply(), None
            img = OPERATIONS[name](img, factor)
    return group.apply() if group else img


class _AffineGroup:
    """Operations on one image, composed as x -> a·x + b·g(x)·1 + c·1 and not yet applied."""

    def __init__(self, img: np.ndarray) -> None:
        self.img = img
        self.a, self.b, self.c = 1.0, 0.0, 0.0
        self._mean_grey: float | None = None

    def brightness(self, factor: float) -> None:
        """Append x -> f·x."""
        self.a *= factor
        self.b *= factor
        self.c *= factor

    def contrast(self, factor: float) -> None:
        """Append x -> f·x + (1 - f)·m, with m the mean grey of the image so far."""
        if self._mean_grey is None:
            red, green, blue, _ = cv2.sumElems(self.img)
            self._mean_grey = (_RED * red + _GREEN * green + _BLUE * blue) / (
                self.img.shape[0] * self.img.shape[1])
        mean = (self.a + self.b) * self._mean_grey + self.c
        self.brightness(factor)
        self.c += (1 - factor) * mean

    def saturation(self, factor: float) -> None:
        """Append x -> f·x + (1 - f)·g(x); g of the image so far is (a + b)·g + c."""
        self.b = factor * self.b + (1 - factor) * (self.a + self.b)
        self.a *= factor

    def apply(self) -> np.ndarray:
        """Return the image after the group, rounded (within 1 level) and clipped to [0, 255]."""
        a, b, c = self.a, self.b, self.c
        if b == 0:
            return cv2.addWeighted(self.img, a, self.img, 0, c)
        red, green, blue = b * _RED, b * _GREEN, b * _BLUE
        return cv2.transform(self.img, np.array((
            (a + red, green, blue, c),
            (red, a + green, blue, c),
            (red, green, a + blue, c)), np.float32))


def adjust_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Multiply by ``factor``."""
    return adjust_color(img, [('brightness', factor)])


def adjust_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean grey of the image; ``factor`` 1 keeps the image, 0 gives the mean."""
    return adjust_color(img, [('contrast', factor)])


def adjust_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the grey image; ``factor`` 1 keeps the image, 0 gives the grey."""
    return adjust_color(img, [('saturation', factor)])


def adjust_hue(img: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by ``shift`` turns, in HSV with 256 steps of hue, as Pillow has."""
    steps = round(shift * 256) % 256
    if steps == 0:
        return img
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)
    rows = hsv.reshape(hsv.shape[0], -1)
    np.add(rows, _hue_row(hsv.shape[1], steps), out=rows)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=hsv)


@functools.lru_cache(maxsize=1024)
def _hue_row(width: int, steps: int) -> np.ndarray:
    """Return one row of (steps, 0, 0, …), uint8 [3 * width].

    To add it with wrap-around to contiguous rows takes a third of the time of adding to the strided channel.
    """
    row = np.zeros(width * 3, np.uint8)
    row[::3] = steps
    return row


def shift_brightness(img: np.ndarray, shift: float) -> np.ndarray:
    """Add ``shift`` times the full range (the official code's v1)."""
    return cv2.addWeighted(img, 1, img, 0, 255 * shift)


def adjust_contrast_per_channel(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale the distance to the mean of each channel (TensorFlow's ``adjust_contrast``)."""
    sums = cv2.sumElems(img)[:3]
    offsets = [(1 - factor) * total / (img.shape[0] * img.shape[1]) for total in sums]
    matrix = np.array([[factor * (row == column) for column in range(3)] + [offsets[row]]
                       for row in range(3)], np.float32)
    return cv2.transform(img, matrix)


def adjust_saturation_hsv(img: np.ndarray, factor: float) -> np.ndarray:
    """Multiply S of HSV, clipped (TensorFlow's ``adjust_saturation``)."""
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)
    hsv = cv2.multiply(hsv, (1, factor, 1, 1))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=hsv)


OPERATIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    'brightness': adjust_brightness,
    'contrast': adjust_contrast,
    'saturation': adjust_saturation,
    'hue': adjust_hue,
    'brightness_shift': shift_brightness,
    'contrast_per_channel': adjust_contrast_per_channel,
    'saturation_hsv': adjust_saturation_hsv,
}
