"""Colour operations on a batch, with another factor and another order for each image.

Brightness, contrast, saturation and grey are one family: with g the grey of a pixel and m the mean of g over
the image, each maps x to ``a·x + b·g + k·m``, clipped to [0, 255]. So a step of the order is one expression
for the whole batch, whatever operation each image has there; hue alone is done for those that have it.
"""

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from mmsimclr.transforms.base import on_device
from mmsimclr.transforms.batch.parameters import JITTER
from mmsimclr.transforms.color import GREY_WEIGHTS

_HUE = JITTER.index('hue')
# x -> a·x + b·g + k·m of each operation with factor f, as (constant, slope in f).
_A = np.array([(0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
_B = np.array([(0.0, 0.0), (0.0, 0.0), (1.0, -1.0), (0.0, 0.0)])
_K = np.array([(0.0, 0.0), (1.0, -1.0), (0.0, 0.0), (0.0, 0.0)])


def adjust_batch(images: Tensor, order: ndarray, factors: ndarray) -> Tensor:
    """Return images after colour jitter, step by step, clipped after each as torchvision does.

    ``images`` are float [M, H, 3, W] on the 0-255 scale, and may be overwritten; ``order`` and ``factors``
    are those of :class:`ViewParameters`.
    """
    for operation in order.T:
        factor = factors[np.arange(len(factors)), operation]
        a, b, k = (c[operation, 0] + c[operation, 1] * factor for c in (_A, _B, _K))
        if (a != 1).any() or b.any() or k.any():
            a, b, k = on_device(np.stack([a, b, k]), images).view(3, -1, 1, 1, 1)
            grey = _grey(images)
            offset = b * grey + k * grey.mean(dim=(1, 3), keepdim=True)
            images = torch.addcmul(offset, a, images).clamp_(0, 255)
        turned = np.flatnonzero((operation == _HUE) & (factor != 0))
        if len(turned):
            rows = on_device(turned, images, torch.int64)
            hued = turn_hue(images[rows], on_device(factor[turned], images))
            images.index_copy_(0, rows, hued)
    return images


def to_grey(images: Tensor) -> Tensor:
    """Return the grey of images, float [M, H, 3, W], in three equal channels."""
    return _grey(images).expand_as(images)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Return RGB images, float [M, H, 3, W], with the hue of HSV turned by float [M] of the colour circle.

    Source:
        Smith 1978, "Color gamut transform pairs". A channel is V - C·clamp(min(k, 4 - k), 0, 1), with C the
        chroma and k = (n + 6h) mod 6; n is 5, 3 and 1 for red, green and blue.
    """
    red, green, blue = images.unbind(dim=2)
    value = images.amax(dim=2)
    chroma = value - images.amin(dim=2)
    divisor = torch.where(chroma == 0, 1, chroma)
    sextant = torch.where(
        value == red, (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4))
    sextant = sextant + 6 * turns.view(-1, 1, 1)
    starts = torch.arange(5, 0, -2, dtype=images.dtype, device=images.device).view(3, 1)
    k = (sextant.unsqueeze(2) + starts).remainder(6)
    return value.unsqueeze(2) - chroma.unsqueeze(2) * torch.minimum(k, 4 - k).clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    """Return the grey of every pixel, float [M, H, 1, W]."""
    red, green, blue = images.split(1, dim=2)
    of_red, of_green, of_blue = GREY_WEIGHTS
    return (red * of_red).add_(green, alpha=of_green).add_(blue, alpha=of_blue)
