"""SplitMix64: random bits as a function of a key, of Python's numbers and of arrays."""

from typing import TypeVar

import numpy as np
from numpy import ndarray

Bits = TypeVar('Bits', int, ndarray)                           # an array is uint64, of at least one dimension
WEYL = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def mix(state: Bits) -> Bits:
    """Return the generator's finaliser of 64 bits.

    Source:
        Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators, figure 17.
    """
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & MASK
    return state ^ (state >> 31)


def next_bits(state: Bits) -> Bits:
    """Return what the generator gives in a state."""
    return mix(state + WEYL & MASK)


def uniforms(seeds: ndarray, num: int) -> ndarray:
    """Return the first ``num`` numbers, uniform in [0, 1), of the streams of seeds [N]: float64 [N, num]."""
    counters = np.arange(1, num + 1, dtype=np.uint64) * WEYL
    return (mix(seeds[:, None] + counters) >> np.uint64(11)) * 2.0**-53
