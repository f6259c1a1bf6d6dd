"""Rotation, cutout, noise, Sobel's filter and changes of channels of a batch, random for each image.

Images are float [N, C, H, W] on the 0-255 scale, of any number of channels. What an image becomes is a
function of its seed, whatever the batch and the device.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy import ndarray
from torch import Tensor

from mmsimclr.errors import InputError
from mmsimclr.splitmix64 import uniforms
from mmsimclr.transforms.batch.color import on_device
from mmsimclr.transforms.operators import (
    ChannelDropout,
    ChannelJitter,
    Cutout,
    GaussianNoise,
    Operator,
    Rotate90,
    Sobel,
)

# SplitMix64's as signed integers: torch multiplies int64 and lets it overflow.
_WEYL, _FIRST, _SECOND = (int(np.uint64(value).view(np.int64)) for value in (
    0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def operate(step: Operator, images: Tensor, seeds: ndarray) -> Tensor:
    """Return images, float [N, C, H, W], after a step; ``seeds``, uint64 [N], decide what is drawn."""
    parameters = step.parameters(uniforms(seeds, step.num_draws), *images.shape[2:])
    return OPERATIONS[type(step)](step, images, parameters, seeds)


def rotate_batch(step: Rotate90, images: Tensor, turns: ndarray, seeds: ndarray) -> Tensor:
    """Return square images turned counter-clockwise by quarter turns, int64 [N]."""
    if images.shape[2] != images.shape[3] and (turns % 2).any():
        raise InputError('Rotate90 turns batches of square images, or by 180 degrees; got images of '
                         f'{images.shape[2]}×{images.shape[3]}')
    images = images.clone()
    for turn in np.unique(turns[turns > 0]):
        rows = on_device(np.flatnonzero(turns == turn), images, torch.int64)
        images.index_copy_(0, rows, images[rows].rot90(int(turn), (2, 3)))
    return images


def cut_out_batch(step: Cutout, images: Tensor, edges: ndarray, seeds: ndarray) -> Tensor:
    """Return images with what lies between edges (top, bottom, left, right), int64 [N, 4], erased."""
    top, bottom, left, right = on_device(edges.T, images).unsqueeze(2)
    rows, columns = (torch.arange(size, device=images.device) for size in images.shape[2:])
    tall, wide = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return images.masked_fill((tall[:, :, None] & wide[:, None, :]).unsqueeze(1), step.fill)


def add_noise_batch(step: GaussianNoise, images: Tensor, std: ndarray, seeds: ndarray) -> Tensor:
    """Return images with noise of deviations float [N], in grey levels, clipped to [0, 255]."""
    noisy = np.flatnonzero(std)
    if not len(noisy):
        return images
    rows = on_device(noisy, images, torch.int64)
    noise = normals(seeds[noisy], images[0].numel(), step.num_draws, images.device).to(images.dtype)
    noise = noise.view(-1, *images.shape[1:]) * on_device(std[noisy], images).view(-1, 1, 1, 1)
    return images.index_copy(0, rows, (images[rows] + noise).clamp_(0, 255))


def sobel_batch(step: Sobel, images: Tensor, chosen: ndarray, seeds: ndarray) -> Tensor:
    """Return images with each channel's gradient magnitude in place of those of ``chosen``, bool [N]."""
    rows = on_device(np.flatnonzero(chosen), images, torch.int64)
    padded = F.pad(images[rows], (1, 1, 1, 1), mode='reflect')
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return images.index_copy(0, rows, (torch.hypot(across, down) / 4).clamp_(max=255))


def jitter_channels_batch(step: ChannelJitter, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
    """Return images with exponent, gain and offset of each channel, clipped to [0, 255]."""
    chosen = np.flatnonzero(parameters[:, 0])
    rows = on_device(chosen, images, torch.int64)
    exponents, gains, offsets = on_device(
        step.factors(parameters[chosen], images.shape[1]), images)[..., None, None].unbind(dim=1)
    changed = (images[rows] / 255) ** exponents * (255 * gains) + 255 * offsets
    return images.index_copy(0, rows, changed.clamp_(0, 255))


def drop_channels_batch(step: ChannelDropout, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
    """Return images without the channels that the step drops."""
    return images * on_device(step.kept(parameters, images.shape[1]), images)[..., None, None]


def normals(seeds: ndarray, count: int, skipped: int, device: torch.device) -> Tensor:
    """Return normal numbers, float32 [N, count], from the streams of seeds behind ``skipped`` numbers.

    Source:
        Box and Muller 1958, on the two halves of each output of SplitMix64 (see :func:`uniforms`).
    """
    first = skipped + 1
    counters = torch.arange(first, first + (count + 1) // 2, device=device) * _WEYL
    bits = _mix(torch.from_numpy(seeds.view(np.int64)).to(device, non_blocking=True)[:, None] + counters)
    high, low = _shifted(bits, 32), bits & 0xFFFFFFFF
    radius = (-2 * ((high + 1) * 2.0**-32).log()).sqrt()
    angle = low * (2 * torch.pi * 2.0**-32)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def _mix(state: Tensor) -> Tensor:
    """Return SplitMix64's finaliser, as :func:`mmsimclr.splitmix64.uniforms` has it."""
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return state ^ _shifted(state, 31)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Return int64 shifted to the right as if it had no sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


#: What does a step of the CPU for a batch, by the step's type: (step, images, parameters, seeds) -> images.
OPERATIONS: dict[type[Operator], Callable[[Operator, Tensor, ndarray, ndarray], Tensor]] = {
    Rotate90: rotate_batch, Cutout: cut_out_batch, GaussianNoise: add_noise_batch, Sobel: sobel_batch,
    ChannelJitter: jitter_channels_batch, ChannelDropout: drop_channels_batch}
