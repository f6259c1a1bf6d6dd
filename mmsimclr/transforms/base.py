"""The call protocol of transforms of one image, and the checks of their arguments."""

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmsimclr.errors import InputError, InputTypeError, check_int


class Transform:
    """A step of a pipeline: takes a dictionary about one image, returns it changed.

    The protocol is MMCV's (``transform(results) -> results``, the image under ``img``), so its
    transforms and ours mix in one pipeline. Images are RGB, uint8, H×W×3, or of any channels, float32
    H×W×C on the same scale of 0 to 255. A step must not write into the array it is given: several views
    start from the same one.
    """

    def __call__(self, results: dict) -> dict:
        return self.transform(results)

    def transform(self, results: dict) -> dict:
        raise NotImplementedError

    def __repr__(self) -> str:
        arguments = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))
        return f'{type(self).__name__}({arguments})'


class ImageTransform(Transform):
    """A step that changes ``img`` alone, by :meth:`apply`."""

    _needs_rgb = False

    def transform(self, results: dict) -> dict:
        results['img'] = self.apply(check_image(results['img'], type(self).__name__, self._needs_rgb))
        return results

    def apply(self, img: np.ndarray) -> np.ndarray:
        """Return the image, uint8 [H, W, 3] or float32 [H, W, C] as it came, after the step."""
        raise NotImplementedError


def check_image(img: Any, owner: str, needs_rgb: bool = False) -> np.ndarray:
    """Return ``img`` if it is uint8 H×W×3 or, where not RGB is needed, float32 H×W×C; else raise."""
    if isinstance(img, np.ndarray) and img.ndim == 3 and (
            (img.dtype == np.uint8 and img.shape[2] == 3) or (img.dtype == np.float32 and not needs_rgb)):
        return img
    got = f'{img.dtype} array of shape {img.shape}' if isinstance(img, np.ndarray) else type(img).__name__
    accepted = ('; it is for colours, and ChannelJitter is for other channels' if needs_rgb else
                ', or float32 H×W×C of LoadChannels')
    raise InputTypeError(f'{owner}: img must be an RGB uint8 array of shape H×W×3{accepted}, got {got}')


def on_device(values: np.ndarray, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return values of the CPU beside ``like``, as its type unless another is given, without waiting."""
    return torch.from_numpy(values).to(dtype or like.dtype).to(like.device, non_blocking=True)


def check_probability(value: float, name: str) -> float:
    """Return a probability as a float."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise InputError(f'{name} must be a probability in [0, 1], got {value!r}')
    return float(value)


def check_range(value: Sequence[float], name: str, low: float = 0.0, high: float = math.inf,
                open_low: bool = False) -> tuple[float, float]:
    """Return an ordered pair of floats inside [low, high] (or ]low, high])."""
    pair = tuple(value) if isinstance(value, Iterable) else ()
    is_pair = len(pair) == 2 and all(isinstance(v, Real) and math.isfinite(v) for v in pair)
    if not is_pair or not low <= pair[0] <= pair[1] <= high or (open_low and pair[0] == low):
        hint = ' (the two are reversed)' if is_pair and pair[0] > pair[1] else ''
        raise InputError(f'{name} must be a pair (smallest, largest) within {"]" if open_low else "["}'
                         f'{low:g}, {high:g}], got {value!r}{hint}')
    return float(pair[0]), float(pair[1])


def check_size(value: int | Sequence[int], name: str) -> tuple[int, int]:
    """Return (height, width); a single integer means a square."""
    sides = value if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)
    if len(sides) != 2:
        raise InputError(f'{name} must be an integer or a pair (height, width), got {value!r}')
    return check_int(sides[0], name), check_int(sides[1], name)
