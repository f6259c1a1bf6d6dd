"""Reference vectors of the parity tests.

The vectors were computed by running the official code (google-research/simclr). Those in
``tests/data`` are small copies that travel with the repository. The whole collection lies outside
it, in ``$MMSIMCLR_GOLDEN`` or in ``shared/golden`` beside the checkout.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS_DATA = Path(__file__).parents[1] / 'data'
GOLDEN = Path(os.environ.get('MMSIMCLR_GOLDEN', Path(__file__).parents[3] / 'shared' / 'golden'))


@pytest.fixture(scope='session')
def reference_file() -> Callable[[str], Path]:
    """Return a function from a name to its path in tests/data, where it must be."""
    def find(name: str) -> Path:
        path = TESTS_DATA / name
        assert path.is_file(), f'{path} belongs to the repository'
        return path
    return find


@pytest.fixture(scope='session')
def golden_file() -> Callable[[str], Path]:
    """Return a function from a name to its path in the whole collection; without it, skip."""
    def find(name: str) -> Path:
        path = GOLDEN / name
        if not path.is_file():
            pytest.skip(f'no {path}: the whole collection of reference vectors is not at hand')
        return path
    return find
