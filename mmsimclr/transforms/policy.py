"""Augmentation policies: SimCLR's random view, from Chen et al. 2020, appendix A, and AutoAugment."""

import random
from collections.abc import Sequence
from numbers import Real

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import autoaugment

from mmsimclr.errors import InputError, check_int
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import ImageTransform, Transform
from mmsimclr.transforms.blur import GaussianBlur
from mmsimclr.transforms.color import ColorJitter, RandomGrayscale
from mmsimclr.transforms.crop import Box, RandomHorizontalFlip, RandomResizedCrop


class ViewPolicy:
    """The steps of a :class:`SimCLRView`, which has the same arguments."""

    def __init__(self, size: int = 224, strength: float = 1.0, blur: bool = True,
                 scale: Sequence[float] = (0.08, 1.0), interpolation: str = 'bicubic',
                 antialias: bool = True, style: str = 'torchvision',
                 additive_brightness: bool = False, crop_style: str = 'torchvision',
                 grey_prob: float = 0.2) -> None:
        if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 <= strength <= 2.5:
            raise InputError('strength must be in [0, 2.5] (SimCLR uses 1, on CIFAR-10 0.5), got '
                             f'{strength!r}')
        self.steps = [
            RandomResizedCrop(size, scale, interpolation=interpolation, antialias=antialias,
                              style=crop_style),
            RandomHorizontalFlip(0.5),
            ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength, prob=0.8, style=style,
                        additive_brightness=additive_brightness),
            RandomGrayscale(grey_prob),
            *([GaussianBlur(sigma=(0.1, 2.0), prob=0.5, kernel_size_fraction=0.1)] if blur else [])]


@TRANSFORMS.register_module()
class SimCLRView(ViewPolicy, Transform):
    """SimCLR's view of ``size`` pixels: crop, flip, colour jitter, grey, blur.

    ``strength`` s of the jitter (0.8s, 0.8s, 0.8s, 0.2s) is 1 on ImageNet, 0.5 on CIFAR-10, where ``blur`` (p
    0.5, sigma 0.1–2.0, kernel 10 % of the side) is off. The crop has ``scale``, ``interpolation``,
    ``antialias`` and ``crop_style`` of :class:`RandomResizedCrop`, the jitter ``style`` and
    ``additive_brightness`` of :class:`ColorJitter`. With ``strength`` and ``grey_prob`` 0 the view is one of
    images of any channels.
    """

    @property
    def size(self) -> tuple[int, int]:
        """Size of the view, (height, width) in pixels."""
        return self.steps[0].size

    def draw_box(self, height: int, width: int) -> Box:
        """Draw the crop's box for an image of this size; the view then takes it as ``crop_box``."""
        return self.steps[0].draw_box(height, width)

    def transform(self, results: dict) -> dict:
        for step in self.steps:
            results = step.transform(results)
        return results


@TRANSFORMS.register_module()
class AutoAugment(ImageTransform):
    """AutoAugment's policy for ImageNet: two operations of one of 25 pairs, each with its probability.

    It comes after crop and flip. The operations are torchvision's; ``fill`` is the grey level, 0 to 255, of
    what a shifted, sheared or turned image leaves empty.

    Source:
        Cubuk et al. 2019, AutoAugment, table 9.
    """

    _needs_rgb = True

    def __init__(self, fill: int = 128) -> None:
        self.fill = check_int(fill, 'AutoAugment.fill', 0, 255)
        self._policy = _SeededAutoAugment(fill=[fill] * 3)

    def apply(self, img: np.ndarray) -> np.ndarray:
        return np.array(self._policy(Image.fromarray(img)))


class _SeededAutoAugment(autoaugment.AutoAugment):
    """Torchvision's policy, which draws from ``random``, as all views do, rather than from torch."""

    @staticmethod
    def get_params(transform_num: int) -> tuple[int, Tensor, Tensor]:
        """Draw the pair, and for both of its operations whether they are applied and their sign."""
        return (random.randrange(transform_num), torch.tensor([random.random() for _ in range(2)]),
                torch.tensor([random.randrange(2) for _ in range(2)]))
