"""The augmentations that SimCLR's policy leaves out: rotation, cutout, noise, Sobel, changes of channels.

Each is there for an image, and for a batch on a device. Both take their parameters from one function of
uniform numbers, so that they have the same distribution.

Source:
    Chen et al. 2020, figure 4. It names the operations and gives no sizes or strengths but the angles. The
    defaults are said with each operation.
"""

import random
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy import ndarray
from torch import Tensor

from mmsimclr.errors import InputError, check_int
from mmsimclr.registry import TRANSFORMS
from mmsimclr.splitmix64 import uniforms
from mmsimclr.transforms.base import ImageTransform, check_probability, check_range, on_device

# SplitMix64's as signed integers: torch multiplies int64 and lets it overflow.
_WEYL, _FIRST, _SECOND = (int(np.uint64(value).view(np.int64)) for value in (
    0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
ANGLES = (0, 90, 180, 270)


class Operator(ImageTransform):
    """A step with ``num_draws`` uniform numbers for each image."""

    num_draws = 1

    def apply(self, img: ndarray) -> ndarray:
        draws = np.array([[random.random() for _ in range(self.num_draws)]])
        parameter = self.parameters(draws, *img.shape[:2])[0]
        return self.change(img, parameter) if np.any(parameter) else img

    def apply_batch(self, images: Tensor, seeds: ndarray) -> Tensor:
        """Return images, float [N, C, H, W] on the 0-255 scale, after the step.

        What an image becomes is a function of its seed, uint64 [N], whatever the batch and the device.
        """
        parameters = self.parameters(uniforms(seeds, self.num_draws), *images.shape[2:])
        chosen = np.flatnonzero(parameters.reshape(len(seeds), -1).any(axis=1))
        if len(chosen) in (0, len(images)):
            return self.change_batch(images, parameters, seeds) if len(chosen) else images
        rows = on_device(chosen, images, torch.int64)
        changed = self.change_batch(images[rows], parameters[chosen], seeds[chosen])
        return images.index_copy(0, rows, changed)

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the parameters of N images of this size, [N, ...], from draws [N, num_draws] in [0, 1).

        Those of an image that stays as it is are zeros.
        """
        raise NotImplementedError

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        """Return an image of a pipeline, [H, W, C], changed."""
        raise NotImplementedError

    def change_batch(self, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
        """Return images, [N, C, H, W], changed."""
        raise NotImplementedError


@TRANSFORMS.register_module()
class Rotate90(Operator):
    """Turn the image counter-clockwise by one of ``angles``, each as likely.

    Args:
        angles: In degrees, of 0, 90, 180 and 270. Chen et al. 2020 name 90, 180 and 270 in figure 4, and all
            four in table 3.
    """

    def __init__(self, angles: Sequence[int] = ANGLES) -> None:
        if not isinstance(angles, Sequence) or not angles or any(angle not in ANGLES for angle in angles):
            raise InputError(f'Rotate90.angles must be a list of some of {ANGLES}, got {angles!r}')
        self.angles = tuple(angles)

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the number of quarter turns of each image, int64 [N]."""
        return np.array(self.angles)[(draws[:, 0] * len(self.angles)).astype(np.int64)] // 90

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        return np.ascontiguousarray(np.rot90(img, int(parameter)))

    def change_batch(self, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
        if images.shape[2] != images.shape[3] and (parameters % 2).any():
            raise InputError('Rotate90 turns batches of square images, or by 180 degrees; got images of '
                             f'{images.shape[2]}×{images.shape[3]}')
        turned = torch.empty_like(images)
        for turn in np.unique(parameters):
            rows = on_device(np.flatnonzero(parameters == turn), images, torch.int64)
            turned.index_copy_(0, rows, images[rows].rot90(int(turn), (2, 3)))
        return turned


@TRANSFORMS.register_module()
class Cutout(Operator):
    """Erase a rectangle around a random pixel; what would lie outside of the image is cut off.

    Args:
        sides: Range of its height and width, as fractions of the image's shorter side, within ]0, 1].
        square: Whether height and width are the same number; otherwise each is drawn for itself.
        fill: Grey level of the rectangle, 0 to 255.
        prob: Probability that the image is changed.

    Source:
        DeVries and Taylor 2017, Improved Regularization of Convolutional Neural Networks with Cutout,
        sections 3.2 and 4.1.
    """

    num_draws = 5

    def __init__(self, sides: Sequence[float] = (0.5, 0.5), square: bool = True, fill: int = 128,
                 prob: float = 1.0) -> None:
        self.sides = check_range(sides, 'Cutout.sides', high=1, open_low=True)
        self.square, self.fill = square, check_int(fill, 'Cutout.fill', 0, 255)
        self.prob = check_probability(prob, 'Cutout.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the top, bottom, left and right edge of what is erased, int64 [N, 4]; zeros for nothing."""
        chosen, tall, wide, down, across = draws.T
        spans = []
        for length, place, draw in ((height, down, tall), (width, across, tall if self.square else wide)):
            low, high = (fraction * min(height, width) for fraction in self.sides)
            span = np.maximum(1, np.round(low + (high - low) * draw))
            start = np.floor(place * length) - span // 2
            spans += [start.clip(0), (start + span).clip(max=length)]
        return (np.stack(spans, axis=1) * (chosen < self.prob)[:, None]).astype(np.int64)

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        top, bottom, left, right = parameter
        img = img.copy()
        img[top:bottom, left:right] = self.fill
        return img

    def change_batch(self, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
        top, bottom, left, right = on_device(parameters.T, images).unsqueeze(2)
        rows, columns = (torch.arange(size, device=images.device) for size in images.shape[2:])
        tall, wide = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        return images.masked_fill((tall[:, :, None] & wide[:, None, :]).unsqueeze(1), self.fill)


@TRANSFORMS.register_module()
class GaussianNoise(Operator):
    """Add normal noise, drawn for each value of each pixel, with a deviation drawn for each image.

    Args:
        std: Range of the deviation, as a fraction of the full range of 255 levels, >= 0. The default spans
            the five strengths of ImageNet-C.
        prob: Probability that the image is changed.

    Source:
        Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness (the strengths, in their code).
    """

    num_draws = 2

    def __init__(self, std: Sequence[float] = (0.08, 0.38), prob: float = 1.0) -> None:
        self.std = check_range(std, 'GaussianNoise.std')
        self.prob = check_probability(prob, 'GaussianNoise.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the deviation in grey levels, float64 [N]; 0 for no noise."""
        low, high = self.std
        return np.where(draws[:, 0] < self.prob, 255 * (low + (high - low) * draws[:, 1]), 0)

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        generator = np.random.default_rng(random.getrandbits(64))
        noise = generator.standard_normal(img.shape, np.float32)
        noise *= np.float32(parameter)
        return _as_image(img, noise + img)

    def change_batch(self, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
        noise = normals(seeds, images[0].numel(), self.num_draws, images.device).to(images.dtype)
        noise = noise.view(images.shape) * on_device(parameters, images).view(-1, 1, 1, 1)
        return (images + noise).clamp_(0, 255)


@TRANSFORMS.register_module()
class Sobel(Operator):
    """Replace each channel by the magnitude of its gradient, by Sobel's filter, mirrored at the border.

    It is divided by 4, the weight of one side of the filter, so that an upright edge from black to white has
    255; slanting ones, which can have more, are clipped.
    """

    def __init__(self, prob: float = 1.0) -> None:
        self.prob = check_probability(prob, 'Sobel.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return whether each image is filtered, bool [N]."""
        return draws[:, 0] < self.prob

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        depth = cv2.CV_16S if img.dtype == np.uint8 else cv2.CV_32F
        across, down = (cv2.Sobel(img, depth, *orders, ksize=3, borderType=cv2.BORDER_REFLECT_101)
                        for orders in ((1, 0), (0, 1)))
        # Exact up to the root. OpenCV's magnitude depends in its last digit on where its input lies.
        squares = np.square(across, dtype=np.float32) + np.square(down, dtype=np.float32)
        return _as_image(img, np.sqrt(squares) / 4)

    def change_batch(self, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
        padded = F.pad(images, (1, 1, 1, 1), mode='reflect')
        across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
        across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
        down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
        return (torch.hypot(across, down) / 4).clamp_(max=255)


@TRANSFORMS.register_module()
class ChannelJitter(Operator):
    """Change each channel by an exponent, a gain and an offset of its own; with x from 0 to 1, g·x^e + o.

    For images without colours, where the paper has colour jitter: of any number of channels, each as likely
    brighter as darker. What leaves 0 to 1 is clipped.

    Args:
        gain: Strength s: gains are uniform in [1 - s, 1 + s], 0 <= s <= 1.
        offset: Offsets are uniform in [-offset, offset], a fraction of the full range, >= 0.
        gamma: Exponents are uniform by their logarithm in [1 / gamma, gamma], gamma >= 1.
        prob: Probability that the image is changed at all.
    """

    num_draws = 2

    def __init__(self, gain: float = 0.4, offset: float = 0.1, gamma: float = 1.5, prob: float = 0.8) -> None:
        (_, self.gain), (_, self.offset) = (check_range((0, value), f'ChannelJitter.{name}', high=1)
                                            for name, value in (('gain', gain), ('offset', offset)))
        _, self.gamma = check_range((1, gamma), 'ChannelJitter.gamma', low=1)
        self.prob = check_probability(prob, 'ChannelJitter.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return whether each image is changed, and the number that its factors follow from: [N, 2]."""
        return np.stack([np.ones(len(draws)), draws[:, 1]], axis=1) * (draws[:, :1] < self.prob)

    def factors(self, parameters: ndarray, channels: int) -> ndarray:
        """Return exponents, gains and offsets of N images, float64 [N, 3, channels]."""
        draws = 2 * _more(parameters[:, 1], 3 * channels).reshape(-1, 3, channels) - 1
        return np.stack([self.gamma ** draws[:, 0], 1 + self.gain * draws[:, 1], self.offset * draws[:, 2]],
                        axis=1)

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        exponents, gains, offsets = self.factors(parameter[None], img.shape[2])[0].astype(np.float32)
        return _as_image(img, np.power(img / np.float32(255), exponents) * (255 * gains) + 255 * offsets)

    def change_batch(self, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
        factors = on_device(self.factors(parameters, images.shape[1]), images)
        exponents, gains, offsets = factors[..., None, None].unbind(dim=1)
        return ((images / 255) ** exponents * (255 * gains) + 255 * offsets).clamp_(0, 255)


@TRANSFORMS.register_module()
class ChannelDropout(Operator):
    """Set one channel, or up to ``max_channels`` but never all, to 0.

    So views agree in what several channels show together, not in one alone.
    """

    num_draws = 3

    def __init__(self, max_channels: int = 1, prob: float = 0.2) -> None:
        self.max_channels = check_int(max_channels, 'ChannelDropout.max_channels')
        self.prob = check_probability(prob, 'ChannelDropout.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return how many channels each image loses, and the number that they follow from: [N, 2]."""
        count = 1 + np.floor(draws[:, 1] * self.max_channels)
        return np.stack([count, draws[:, 2]], axis=1) * (draws[:, :1] < self.prob)

    def kept(self, parameters: ndarray, channels: int) -> ndarray:
        """Return whether each channel of N images is kept, bool [N, channels]."""
        order = _more(parameters[:, 1], channels).argsort(axis=1).argsort(axis=1)
        return order >= parameters[:, :1].clip(max=channels - 1)

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        return img * self.kept(parameter[None], img.shape[2])[0].astype(img.dtype)

    def change_batch(self, images: Tensor, parameters: ndarray, seeds: ndarray) -> Tensor:
        return images * on_device(self.kept(parameters, images.shape[1]), images)[..., None, None]


#: The steps that views on a device may have after the policy.
OPERATORS = (Rotate90, Cutout, GaussianNoise, Sobel, ChannelJitter, ChannelDropout)


def _more(draws: ndarray, count: int) -> ndarray:
    """Return more uniform numbers, float64 [N, count], that follow from one of each image, [N] in [0, 1)."""
    return uniforms((draws * 2.0**53).astype(np.uint64), count)


def _as_image(img: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values clipped to 0 to 255, in the shape of an image, rounded where the image is uint8."""
    values = (np.rint(values) if img.dtype == np.uint8 else values).clip(0, 255)
    return values.astype(img.dtype, copy=False).reshape(img.shape)


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
