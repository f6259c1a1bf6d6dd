"""Random numbers that are a function of where they are used, not of what was drawn before."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

_WEYL = np.uint64(0x9E3779B97F4A7C15)


def sample_seeds(seed: ndarray, epoch: ndarray, index: ndarray) -> ndarray:
    """Return :func:`mmsimclr.transforms.sample_seed` of many samples, uint64 [N].

    Args:
        seed: Seeds of the run, int64 [N].
        epoch: Epochs, int64 [N].
        index: Indices of the images, int64 [N].
    """
    state = np.zeros(len(index), np.uint64)
    for value in (seed, epoch, index):
        state = _mix((state ^ np.asarray(value, np.int64).view(np.uint64)) + _WEYL)
    return state


def uniforms(seeds: ndarray, num: int) -> ndarray:
    """Return the first ``num`` numbers of each seed's own stream, uniform in [0, 1), float64 [N, num].

    Args:
        seeds: One seed for each stream, uint64 [N].
        num: Numbers of each stream.

    Source:
        SplitMix64 (Steele, Lea and Flood 2014): output i is a hash of the seed plus i times an odd constant.
    """
    counters = np.arange(1, num + 1, dtype=np.uint64) * _WEYL
    return (_mix(seeds[:, None] + counters) >> np.uint64(11)) * 2.0**-53


def _mix(state: ndarray) -> ndarray:
    """Return the finaliser of SplitMix64."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
