"""NonLinearNeck, set up as the official head, against the official head."""

import numpy as np
import pytest
import torch
from official_names import head_key, to_torch

from mmsimclr.models import NonLinearNeck

CASES = ('layers2_globalbn0', 'layers2_globalbn1', 'layers3_globalbn0', 'layers3_globalbn1')
# Relative to the largest entry of a tensor, float32 on both sides.
TOLERANCE = 1e-5


def load(file, case: str) -> dict[str, dict[str, torch.Tensor]]:
    """Return the arrays of a case by kind; variables under our keys."""
    arrays = {'weights': {}, 'grad': {}, 'after': {}, 'other': {}}
    for name in file:
        if not name.startswith(f'{case}/'):
            continue
        short = name.removeprefix(f'{case}/').removeprefix('train/')
        kind, _, rest = short.partition('/')
        if kind in ('weights', 'grad', 'after'):
            arrays[kind][head_key(rest)] = to_torch(file[name])
        else:
            arrays['other'][name.removeprefix(f'{case}/')] = torch.from_numpy(file[name])
    return arrays


def build(weights: dict[str, torch.Tensor], num_layers: int) -> NonLinearNeck:
    neck = NonLinearNeck(in_channels=64, hid_channels=64, out_channels=128, num_layers=num_layers,
                         with_bias=False, with_last_bn=True, with_last_bn_affine='scale')
    missing, unexpected = neck.load_state_dict(weights, strict=False)
    assert not unexpected
    assert {key for key in missing if not key.endswith('num_batches_tracked')} <= {
        f'bn{num_layers - 1}.bias'}
    return neck


def assert_near(got: torch.Tensor, want: torch.Tensor, what: str,
                tolerance: float = TOLERANCE) -> None:
    assert got.shape == want.shape, what
    error = ((got - want).abs().max() / want.abs().max()).item()
    assert error < tolerance, f'{what}: {error:.2e} of its maximum'


def check(file, case: str) -> None:
    arrays = load(file, case)
    other = arrays['other']
    num_layers = int(case[len('layers')])
    neck = build(arrays['weights'], num_layers)
    statistics = {key: value.clone() for key, value in neck.state_dict().items()}

    (output,) = neck.eval()((other['input'],))
    assert_near(output, other['eval/output'], 'eval output')
    (pooled,) = neck(((other['input'])[:, :, None, None].expand(-1, -1, 2, 3),))
    assert_near(pooled, other['eval/output'], 'eval output of maps')

    x = other['input'].clone().requires_grad_()
    (output,) = neck.train()((x,))
    assert_near(output, other['train/output'], 'train output')
    (output * other['train/cotangent']).sum().backward()
    assert_near(x.grad, other['train/grad_input'], 'gradient of the input', 1e-4)
    trained = {key for key, p in neck.named_parameters() if p.requires_grad}
    assert trained == set(arrays['grad'])
    for key, want in arrays['grad'].items():
        assert_near(neck.get_parameter(key).grad, want, f'gradient of {key}', 1e-4)

    n = len(x)
    for key, want in arrays['after'].items():
        got = neck.state_dict()[key]
        if key.endswith('running_var'):  # torch keeps the unbiased variance, the official code not
            kept = 0.9 * statistics[key]
            got = kept + (got - kept) * (n - 1) / n
        assert_near(got, want, f'{key} after one step')


def test_official_head_of_three_layers(reference_file):
    check(np.load(reference_file('projection_head.npz')), 'layers3_globalbn0')


@pytest.mark.parametrize('case', CASES)
def test_official_head_in_all_stored_cases(case, golden_file):
    check(np.load(golden_file('projection_head/projection_head.npz')), case)
