"""What every transform of one image shares: the call protocol and the checks of its arguments."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from mmsimclr.errors import InputError, InputTypeError


class Transform:
    """A step of a pipeline: takes a dictionary about one image, returns it changed.

    The protocol is MMCV's (``transform(results) -> results``, the image under ``img``), so its
    transforms and ours mix in one pipeline. Images are RGB, uint8, H×W×3. A step must not write
    into the array it is given: several views start from the same one.
    """

    def __call__(self, results: dict) -> dict:
        """Apply the step."""
        return self.transform(results)

    def transform(self, results: dict) -> dict:
        """Return ``results`` with the step applied."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Show the class and its arguments."""
        arguments = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))
        return f'{type(self).__name__}({arguments})'


def check_image(img: Any, owner: str) -> np.ndarray:
    """Return ``img`` if it is uint8 H×W×3, else raise a TypeError that says what it is."""
    if isinstance(img, np.ndarray) and img.dtype == np.uint8 and img.ndim == 3 and (
            img.shape[2] == 3):
        return img
    if isinstance(img, np.ndarray):
        got = f'{img.dtype} array of shape {img.shape}'
    else:
        got = type(img).__name__
    raise InputTypeError(f'{owner}: img must be an RGB uint8 array of shape H×W×3, got {got}')


def check_probability(value: float, name: str) -> float:
    """Return ``value`` as a float if it is a probability."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise InputError(f'{name} must be a probability in [0, 1], got {value!r}')
    return float(value)


def check_range(value: Sequence[float], name: str, low: float = 0.0, high: float = math.inf,
                open_low: bool = False) -> tuple[float, float]:
    """Return ``value`` as an ordered pair of floats inside [low, high] (or ]low, high])."""
    bounds = f'{"]" if open_low else "["}{low:g}, {high:g}]'
    wanted = f'{name} must be a pair (smallest, largest) within {bounds}, got {value!r}'
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(wanted)
    pair = tuple(value)
    if len(pair) != 2 or not all(isinstance(v, Real) and math.isfinite(v) for v in pair):
        raise InputError(wanted)
    if pair[0] > pair[1]:
        raise InputError(f'{wanted} (the two are reversed)')
    if pair[0] < low or pair[1] > high or (open_low and pair[0] <= low):
        raise InputError(wanted)
    return float(pair[0]), float(pair[1])


def check_choice(value: str, name: str, accepted: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``accepted``; else name them and the nearest."""
    accepted = sorted(accepted)
    if value in accepted:
        return value
    message = f'{name} must be one of {", ".join(map(repr, accepted))}, got {value!r}'
    close = difflib.get_close_matches(str(value), accepted, n=1)
    raise InputError(message + (f'; did you mean {close[0]!r}?' if close else ''))


def check_positive_int(value: int, name: str) -> int:
    """Return ``value`` if it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f'{name} must be an integer >= 1, got {value!r}')
    return int(value)


def check_size(value: int | Sequence[int], name: str) -> tuple[int, int]:
    """Return ``value`` as (height, width); a single integer means a square."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise InputError(f'{name} must be an integer or a pair (height, width), got {value!r}')
        return check_positive_int(value[0], name), check_positive_int(value[1], name)
    side = check_positive_int(value, name)
    return side, side
