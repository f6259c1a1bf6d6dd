"""The state of every random generator a training process draws from."""

import random

import numpy as np
import torch


def random_state() -> dict:
    """Return the states of ``random``, ``numpy.random``, torch and the current GPU.

    They are of types that ``torch.load(weights_only=True)`` reads.
    """
    name, keys, *rest = np.random.get_state()
    return dict(
        python=random.getstate(), numpy=(name, torch.from_numpy(keys.astype(np.int64)), *map(float, rest)),
        torch=torch.get_rng_state(), cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None)


def set_random_state(state: dict) -> None:
    """Put all generators into a state that :func:`random_state` returned."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])
