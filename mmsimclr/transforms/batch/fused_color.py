"""Colour jitter and grey of a batch in one Triton kernel, a program for each image; see ``color.py``.

An image is read twice: for the mean that contrast needs, of the pixels as the operations before it leave
them, and to be changed. Operations are chosen by branches of the program, so no image is gathered or copied.
"""

import torch
import triton
from numpy import ndarray
from torch import Tensor
from triton import language as tl

from mmsimclr.transforms.base import on_device
from mmsimclr.transforms.batch.parameters import JITTER
from mmsimclr.transforms.color import GREY_WEIGHTS

BLOCK = 1024
CONTRAST, SATURATION, HUE = (tl.constexpr(JITTER.index(name)) for name in ('contrast', 'saturation', 'hue'))
OF_RED, OF_GREEN, OF_BLUE = (tl.constexpr(weight) for weight in GREY_WEIGHTS)


@triton.jit
def _channel(n, sextant, value, chroma):
    k = n + sextant
    k = k - 6.0 * tl.floor(k / 6.0)
    return value - chroma * tl.minimum(tl.maximum(tl.minimum(k, 4.0 - k), 0.0), 1.0)


@triton.jit
def _changed(red, green, blue, operation, factor, mean):
    """Return the channels after one operation; see ``adjust_batch`` and ``turn_hue``."""
    if operation == HUE:
        if factor != 0:
            value = tl.maximum(tl.maximum(red, green), blue)
            chroma = value - tl.minimum(tl.minimum(red, green), blue)
            divisor = tl.where(chroma == 0, 1.0, chroma)
            sextant = 6.0 * factor + tl.where(
                value == red, (green - blue) / divisor, tl.where(
                    value == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0))
            red = _channel(5.0, sextant, value, chroma)
            green = _channel(3.0, sextant, value, chroma)
            blue = _channel(1.0, sextant, value, chroma)
    else:
        grey = red * OF_RED + green * OF_GREEN + blue * OF_BLUE
        offset = tl.where(operation == SATURATION, (1.0 - factor) * grey, 0.0)
        offset += tl.where(operation == CONTRAST, (1.0 - factor) * mean, 0.0)
        red = tl.minimum(tl.maximum(factor * red + offset, 0.0), 255.0)
        green = tl.minimum(tl.maximum(factor * green + offset, 0.0), 255.0)
        blue = tl.minimum(tl.maximum(factor * blue + offset, 0.0), 255.0)
    return red, green, blue


@triton.jit
def _jitter(images, orders, factors, greys, pixels, width, BLOCK: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    images += image * 3 * pixels
    orders += image * 4
    factors += image * 4
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, pixels, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        own = images + pixel // width * 3 * width + pixel % width
        inside = pixel < pixels
        red = tl.load(own, inside, 0.0)
        green = tl.load(own + width, inside, 0.0)
        blue = tl.load(own + 2 * width, inside, 0.0)
        before = True
        for step in tl.static_range(4):
            operation = tl.load(orders + step)
            before = before & (operation != CONTRAST)
            if before:
                factor = tl.load(factors + operation)
                red, green, blue = _changed(red, green, blue, operation, factor, 0.0)
        total += tl.where(inside, red * OF_RED + green * OF_GREEN + blue * OF_BLUE, 0.0)
    mean = tl.sum(total) / pixels
    for start in range(0, pixels, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        own = images + pixel // width * 3 * width + pixel % width
        inside = pixel < pixels
        red = tl.load(own, inside, 0.0)
        green = tl.load(own + width, inside, 0.0)
        blue = tl.load(own + 2 * width, inside, 0.0)
        for step in tl.static_range(4):
            operation = tl.load(orders + step)
            factor = tl.load(factors + operation)
            red, green, blue = _changed(red, green, blue, operation, factor, mean)
        if tl.load(greys + image) != 0:
            grey = red * OF_RED + green * OF_GREEN + blue * OF_BLUE
            red, green, blue = grey, grey, grey
        tl.store(own, red, inside)
        tl.store(own + width, green, inside)
        tl.store(own + 2 * width, blue, inside)


def adjust_fused(images: Tensor, order: ndarray, factors: ndarray, grey: ndarray) -> Tensor:
    """Return images, float32 [M, H, 3, W] on the 0-255 scale, after jitter and grey; they are overwritten.

    The arguments are those of :func:`adjust_batch`, and ``grey``, bool [M].
    """
    images = images.contiguous()
    count, height, _, width = images.shape
    _jitter[(count,)](images, on_device(order, images, torch.int32), on_device(factors, images),
                      on_device(grey, images, torch.int32), height * width, width, BLOCK)
    return images
