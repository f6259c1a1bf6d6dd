"""SplitMix64 against its published outputs."""

import numpy as np
import pytest

from mmsimclr.splitmix64 import MASK, WEYL, next_bits

# Source: https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64, seed 1234567.
OUTPUTS = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
           16408922859458223821]


def test_numbers_and_arrays_give_the_published_outputs():
    states = [(1234567 + i * WEYL) & MASK for i in range(len(OUTPUTS))]
    assert [next_bits(state) for state in states] == OUTPUTS
    assert next_bits(np.array(states, np.uint64)).tolist() == OUTPUTS
    assert next_bits(np.array(states, np.uint64)).dtype == np.uint64


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('state', [0, 1, MASK])
def test_nothing_overflows_in_an_array_of_one(state):
    assert next_bits(np.array([state], np.uint64)).tolist() == [next_bits(state)]
