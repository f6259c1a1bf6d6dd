"""LARS against six steps of the official optimizer, in twelve settings.

Among the variables are a zero weight, a gradient that is zero at one step or always, and gradients
as small as the weight decay: where the rules for the trust ratio differ.
"""

import numpy as np
import pytest
import torch

from mmsimclr.engine import LARS

NUM_STEPS = 6
# Relative to the largest entry of a tensor: six steps in float32.
TOLERANCE = 2e-6
EXCLUDED = ('batch_normalization', 'bias', 'head_supervised')  # the official code's patterns


@pytest.fixture(scope='module')
def stored(reference_file):
    with np.load(reference_file('lars.npz')) as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def names_of(stored: dict) -> list[str]:
    return [key.removeprefix('init/') for key in stored if key.startswith('init/')]


def is_excluded(name: str) -> bool:
    return any(pattern in name for pattern in EXCLUDED)


def close(got: torch.Tensor, want: torch.Tensor) -> bool:
    return bool((got - want).abs().max() <= TOLERANCE * want.abs().max())


def build(stored: dict, weight_decay: float, **kwargs) -> tuple[dict, LARS]:
    params = {name: torch.nn.Parameter(stored[f'init/{name}'].clone())
              for name in names_of(stored)}
    optimizer = LARS([
        {'params': [p for name, p in params.items() if not is_excluded(name)]},
        {'params': [p for name, p in params.items() if is_excluded(name)],
         'lars_exclude': True, 'weight_decay': 0.0},
    ], lr=0.3, momentum=0.9, weight_decay=weight_decay, eta=0.001, **kwargs)
    return params, optimizer


@pytest.mark.parametrize('nesterov', [False, True])
@pytest.mark.parametrize('style', ['classic', 'popular'])
@pytest.mark.parametrize('weight_decay', ['0.0001', '1e-06', '0'])
def test_weights_and_momenta_follow_the_official_trajectory(
        weight_decay, style, nesterov, stored):
    case = f'wd{weight_decay}_classic{int(style == "classic")}_nesterov{int(nesterov)}'
    params, optimizer = build(stored, float(weight_decay), trust_ratio='official',
                              momentum_style=style, nesterov=nesterov)
    for step in range(NUM_STEPS):
        for name, parameter in params.items():
            parameter.grad = stored[f'grads/{name}'][step].clone()
        optimizer.step()
        for name, parameter in params.items():
            where = f'{name}, step {step}'
            assert close(parameter.detach(), stored[f'{case}/param/{name}'][step]), where
            momentum = optimizer.state[parameter]['momentum_buffer']
            assert close(momentum, stored[f'{case}/momentum/{name}'][step]), f'momentum of {where}'


def test_openmmlabs_trust_ratio_departs_where_gradients_are_as_small_as_the_decay(stored):
    params, optimizer = build(stored, 1e-4, trust_ratio='openmmlab')
    for step in range(NUM_STEPS):
        for name, parameter in params.items():
            parameter.grad = stored[f'grads/{name}'][step].clone()
        optimizer.step()
    shift = {}
    for name, parameter in params.items():
        start = stored[f'init/{name}']
        want = stored[f'wd0.0001_classic1_nesterov0/param/{name}'][-1]
        shift[name] = ((parameter.detach() - want).norm() / (want - start).norm()).item()
    assert shift['resnet/conv2d_fixed_padding/conv2d/kernel'] < 1e-3
    assert shift['projection_head/nl_1/dense_1/kernel'] == pytest.approx(0.3, abs=0.1)
    assert shift['zero_grad_step3/conv2d_2/kernel'] > 0.3
