"""Colour: jitter, grey, solarisation."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from numbers import Real

import cv2
import numpy as np

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import (
    Transform,
    check_choice,
    check_image,
    check_probability,
    check_range,
)
from mmsimclr.transforms.color_ops import OPERATIONS, adjust_color

Factors = list[tuple[str, float]]


@TRANSFORMS.register_module()
class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue by random factors, in random order.

    A strength is a float s (factor uniform in [max(0, 1 - s), 1 + s]; for hue a shift uniform in
    [-s, s] turns of the colour circle, s <= 0.5) or the range itself. An operation with strength 0
    is left out.

    ``style='torchvision'``: all multiplicative; contrast blends with the mean grey of the image,
    saturation with the grey image, hue turns H of HSV. ``style='official'``: the official
    SimCLR code's operations, where contrast is around the mean of each channel and saturation
    scales S of HSV; with ``additive_brightness`` its first version's brightness, which adds
    a shift uniform in [-s, s] (of the full range).

    Args:
        brightness: Strength or range.
        contrast: Strength or range.
        saturation: Strength or range.
        hue: Strength or range, in turns.
        prob: Probability that the image is changed at all.
        style: 'torchvision' or 'official'.
        additive_brightness: The official code's v1 brightness.

    Source:
        Chen et al. 2020, appendix A.
    """

    def __init__(self, brightness: float | Sequence[float] = 0.8,
                 contrast: float | Sequence[float] = 0.8,
                 saturation: float | Sequence[float] = 0.8,
                 hue: float | Sequence[float] = 0.2, prob: float = 0.8,
                 style: str = 'torchvision', additive_brightness: bool = False) -> None:
        self.prob = check_probability(prob, 'ColorJitter.prob')
        self.style = check_choice(style, 'ColorJitter.style', ('torchvision', 'official'))
        self.additive_brightness = additive_brightness
        self.brightness = _factor_range(brightness, 'brightness', additive_brightness)
        self.contrast = _factor_range(contrast, 'contrast')
        self.saturation = _factor_range(saturation, 'saturation')
        self.hue = _factor_range(hue, 'hue', shift=True, limit=0.5)
        names = {'brightness': 'brightness', 'contrast': 'contrast',
                 'saturation': 'saturation', 'hue': 'hue'}
        if additive_brightness:
            names['brightness'] = 'brightness_shift'
        if style == 'official':
            names.update(contrast='contrast_per_channel', saturation='saturation_hsv')
        neutral = {'hue': 0.0, 'brightness_shift': 0.0}
        ranges = [(name, *getattr(self, argument)) for argument, name in names.items()
                  if getattr(self, argument) != (neutral.get(name, 1.0),) * 2]
        self._orders = list(itertools.permutations(ranges))
        assert all(name in OPERATIONS for name in names.values())

    def get_params(self) -> Factors:
        """Draw the factors, in the order in which they are to be applied."""
        order = self._orders[int(random.random() * len(self._orders))]
        return [(name, low + (high - low) * random.random()) for name, low, high in order]

    def transform(self, results: dict) -> dict:
        """Change the colours of ``img`` or leave them."""
        img = check_image(results['img'], 'ColorJitter')
        if random.random() < self.prob:
            results['img'] = adjust_color(img, self.get_params())
        return results


def _factor_range(value: float | Sequence[float], name: str, shift: bool = False,
                  limit: float = 1e6) -> tuple[float, float]:
    name = f'ColorJitter.{name}'
    low = -limit if shift else 0.0
    if isinstance(value, Real) and not isinstance(value, bool):
        if not 0 <= value <= limit:
            raise ValueError(f'{name} must be a strength in [0, {limit:g}] or a range, '
                             f'got {value!r}')
        return (-float(value), float(value)) if shift else (max(0.0, 1.0 - value), 1.0 + value)
    return check_range(value, name, low=low, high=limit)


@TRANSFORMS.register_module()
class RandomGrayscale(Transform):
    """Replace the colours by their grey (three equal channels) with probability ``prob``."""

    def __init__(self, prob: float = 0.2) -> None:
        self.prob = check_probability(prob, 'RandomGrayscale.prob')

    def transform(self, results: dict) -> dict:
        """Make ``img`` grey or leave it."""
        img = check_image(results['img'], 'RandomGrayscale')
        if random.random() < self.prob:
            results['img'] = to_grayscale(img)
        return results


def to_grayscale(img: np.ndarray) -> np.ndarray:
    """Return the luma (ITU-R BT.601) of ``img`` in three equal channels."""
    return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


@TRANSFORMS.register_module()
class RandomSolarize(Transform):
    """Invert the values of at least ``threshold`` with probability ``prob`` (Grill et al. 2020)."""

    def __init__(self, prob: float = 0.2, threshold: int = 128) -> None:
        self.prob = check_probability(prob, 'RandomSolarize.prob')
        if isinstance(threshold, bool) or not isinstance(threshold, int) or (
                not 0 <= threshold <= 256):
            raise ValueError(f'RandomSolarize.threshold must be an integer in [0, 256], '
                             f'got {threshold!r}')
        self.threshold = threshold

    def transform(self, results: dict) -> dict:
        """Solarise ``img`` or leave it."""
        img = check_image(results['img'], 'RandomSolarize')
        if random.random() < self.prob:
            results['img'] = solarize(img, self.threshold)
        return results


def solarize(img: np.ndarray, threshold: int = 128) -> np.ndarray:
    """Return ``img`` with the values of at least ``threshold`` inverted."""
    values = np.arange(256)
    return cv2.LUT(img, np.where(values < threshold, values, 255 - values).astype(np.uint8))
