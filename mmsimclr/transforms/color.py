"""Colour: operations on the pixels, then the random transforms that draw their factors."""

import functools
import itertools
import math
import random
from collections.abc import Callable, Sequence
from numbers import Real

import cv2
import numpy as np

from mmsimclr.errors import InputError, check_choice, check_int
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import ImageTransform, check_probability, check_range

# ITU-R BT.601, to the four digits that torchvision and TensorFlow use.
_LUMA = (0.2989, 0.587, 0.114)
#: Weights of red, green and blue in grey. The four digits sum to 0.9999; the grey of white is to be white.
GREY_WEIGHTS = tuple(weight / sum(_LUMA) for weight in _LUMA)
# Numbers of an image below which cv2.mean is faster than cv2.sumElems, which takes 11 us to begin.
SMALL = 30_000
# Of the covariance of ImageNet's RGB values, on the 0-255 scale; component j is column j. As published with
# fb.resnet.torch (Facebook, 2016), on the scale of 0 to 1: 0.2175, 0.0188, 0.0045.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045]) * 255
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009],
                         [-0.5808, -0.0045, -0.8140],
                         [-0.5836, -0.6948, 0.4203]])


def adjust_color(img: np.ndarray, factors: Sequence[tuple[str, float]]) -> np.ndarray:
    """Return ``img`` after ``factors``, pairs (operation, factor), in this order.

    Brightness multiplies, contrast blends with the mean grey of the image, saturation with the grey image.
    The three are composed and applied together where nothing is clipped between. Others: :data:`OPERATIONS`.
    """
    group = mean = None                                 # the map not yet applied, and the mean grey of img
    for name, factor in factors:
        if name not in ('brightness', 'contrast', 'saturation'):
            img, group, mean = OPERATIONS[name](_applied(img, group), factor), None, None
            continue
        a, b, c = group or (1.0, 0.0, 0.0)
        if name == 'saturation':                        # the grey so far is (a + b)·g + c
            group = a * factor, factor * b + (1 - factor) * (a + b), c
        else:
            group = a * factor, b * factor, c * factor
        if name == 'contrast':
            if mean is None:
                mean = sum(weight * each for weight, each in zip(GREY_WEIGHTS, _means(img), strict=True))
            group = *group[:2], group[2] + (1 - factor) * ((a + b) * mean + c)
        if factor > 1:
            img, group, mean = _applied(img, group), None, None
    return _applied(img, group)


def _means(img: np.ndarray) -> list[float]:
    """Return the mean of each of three channels."""
    if img.size < SMALL:
        return cv2.mean(img)[:3]
    return [total / (img.shape[0] * img.shape[1]) for total in cv2.sumElems(img)[:3]]


def _applied(img: np.ndarray, group: tuple[float, float, float] | None) -> np.ndarray:
    """Return a·x + b·g(x) + c of each pixel x with grey g(x), rounded (within 1 level), in [0, 255]."""
    if group is None:
        return img
    a, b, c = group
    if b == 0:
        return cv2.addWeighted(img, a, img, 0, c)
    red, green, blue = (b * weight for weight in GREY_WEIGHTS)
    return cv2.transform(img, np.array((
        (a + red, green, blue, c),
        (red, a + green, blue, c),
        (red, green, a + blue, c)), np.float32))


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
    """Return one row of (steps, 0, 0, …), uint8 [3 * width]; adding it is 3 times as fast as to a channel."""
    row = np.zeros(width * 3, np.uint8)
    row[::3] = steps
    return row


def shift_brightness(img: np.ndarray, shift: float) -> np.ndarray:
    """Add ``shift`` times the full range (the official code's v1)."""
    return cv2.addWeighted(img, 1, img, 0, 255 * shift)


def adjust_contrast_per_channel(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale the distance to the mean of each channel (TensorFlow's ``adjust_contrast``)."""
    offsets = [(1 - factor) * mean for mean in _means(img)]
    return cv2.transform(img, np.column_stack([factor * np.eye(3), offsets]).astype(np.float32))


def adjust_saturation_hsv(img: np.ndarray, factor: float) -> np.ndarray:
    """Multiply S of HSV, clipped (TensorFlow's ``adjust_saturation``)."""
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)
    hsv = cv2.multiply(hsv, (1, factor, 1, 1))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=hsv)


#: Operations that are not composed, besides brightness, contrast and saturation.
OPERATIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    'hue': adjust_hue,
    'brightness_shift': shift_brightness,
    'contrast_per_channel': adjust_contrast_per_channel,
    'saturation_hsv': adjust_saturation_hsv,
}


def to_grayscale(img: np.ndarray) -> np.ndarray:
    """Return the luma (ITU-R BT.601) of ``img`` in three equal channels."""
    return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def solarize(img: np.ndarray, threshold: int = 128) -> np.ndarray:
    """Return ``img`` with the values of at least ``threshold`` inverted."""
    values = np.arange(256)
    return cv2.LUT(img, np.where(values < threshold, values, 255 - values).astype(np.uint8))


@TRANSFORMS.register_module()
class ColorJitter(ImageTransform):
    """Change brightness, contrast, saturation and hue by random factors, in random order.

    Args:
        brightness, contrast, saturation, hue: A range, or a strength s: a factor uniform in
            [max(0, 1 - s), 1 + s]; for hue, a shift uniform in [-s, s] turns, s <= 0.5.
        prob: Probability that the image is changed at all.
        style: 'torchvision': contrast blends with the mean grey of the image, saturation with the grey
            image. 'official', as in the SimCLR code: contrast is around the mean of each channel,
            saturation scales S of HSV.
        additive_brightness: The official code's v1 brightness: add a shift uniform in [-s, s] of full range.

    Source:
        Chen et al. 2020, appendix A.
    """

    def __init__(self, brightness: float | Sequence[float] = 0.8, contrast: float | Sequence[float] = 0.8,
                 saturation: float | Sequence[float] = 0.8, hue: float | Sequence[float] = 0.2,
                 prob: float = 0.8, style: str = 'torchvision', additive_brightness: bool = False) -> None:
        self.prob = check_probability(prob, 'ColorJitter.prob')
        self.style = check_choice(style, 'ColorJitter.style', ('torchvision', 'official'))
        self.additive_brightness = additive_brightness
        self.brightness = _factor_range(brightness, 'brightness', additive_brightness)
        self.contrast = _factor_range(contrast, 'contrast')
        self.saturation = _factor_range(saturation, 'saturation')
        self.hue = _factor_range(hue, 'hue', shift=True, limit=0.5)
        official = style == 'official'
        ranges = {'brightness_shift' if additive_brightness else 'brightness': self.brightness,
                  'contrast_per_channel' if official else 'contrast': self.contrast,
                  'saturation_hsv' if official else 'saturation': self.saturation,
                  'hue': self.hue}
        neutral = {'hue': 0.0, 'brightness_shift': 0.0}
        self._orders = list(itertools.permutations(
            (name, *bounds) for name, bounds in ranges.items() if bounds != (neutral.get(name, 1.0),) * 2))
        self._needs_rgb = prob > 0 and self._orders != [()]

    def get_params(self) -> list[tuple[str, float]]:
        """Draw the factors, in the order in which they are to be applied."""
        order = self._orders[int(random.random() * len(self._orders))]
        return [(name, low + (high - low) * random.random()) for name, low, high in order]

    def apply(self, img: np.ndarray) -> np.ndarray:
        return adjust_color(img, self.get_params()) if random.random() < self.prob else img


def _factor_range(value: float | Sequence[float], name: str, shift: bool = False,
                  limit: float = 1e6) -> tuple[float, float]:
    name = f'ColorJitter.{name}'
    if not isinstance(value, Real) or isinstance(value, bool):
        return check_range(value, name, low=-limit if shift else 0.0, high=limit)
    if not 0 <= value <= limit:
        raise InputError(f'{name} must be a strength in [0, {limit:g}] or a range, got {value!r}')
    return (-float(value), float(value)) if shift else (max(0.0, 1.0 - value), 1.0 + value)


@TRANSFORMS.register_module()
class RandomGrayscale(ImageTransform):
    """Replace the colours by their grey (three equal channels) with probability ``prob``."""

    def __init__(self, prob: float = 0.2) -> None:
        self.prob = check_probability(prob, 'RandomGrayscale.prob')
        self._needs_rgb = prob > 0

    def apply(self, img: np.ndarray) -> np.ndarray:
        return to_grayscale(img) if random.random() < self.prob else img


@TRANSFORMS.register_module()
class RandomSolarize(ImageTransform):
    """Invert the values of at least ``threshold`` with probability ``prob`` (Grill et al. 2020)."""

    _needs_rgb = True

    def __init__(self, prob: float = 0.2, threshold: int = 128) -> None:
        self.prob = check_probability(prob, 'RandomSolarize.prob')
        self.threshold = check_int(threshold, 'RandomSolarize.threshold', 0, 256)

    def apply(self, img: np.ndarray) -> np.ndarray:
        return solarize(img, self.threshold) if random.random() < self.prob else img


@TRANSFORMS.register_module()
class PCALighting(ImageTransform):
    """Add one random colour to every pixel: ``sum_j alpha_j * eigenvalue_j * eigenvector_j``, alpha normal.

    Source:
        Krizhevsky et al. 2012, section 4.1.
    """

    _needs_rgb = True

    def __init__(self, alpha_std: float = 0.1) -> None:
        if not 0 <= alpha_std < math.inf:
            raise InputError(f'PCALighting.alpha_std must be >= 0 and finite, got {alpha_std!r} '
                             '(0.1 is usual)')
        self.alpha_std = alpha_std

    def apply(self, img: np.ndarray) -> np.ndarray:
        # Not random.gauss, which keeps every second number for the next image.
        alphas = [random.normalvariate(0.0, self.alpha_std) for _ in EIGENVALUES]
        return (img + EIGENVECTORS @ (alphas * EIGENVALUES)).round().clip(0, 255).astype(np.uint8)
