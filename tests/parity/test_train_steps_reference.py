"""Three complete training steps against the official code: every part of the main path at once.

ResNet-18 at width 1/8 with the CIFAR stem, the three-layer projection head, NT-Xent, a linear head
trained on detached features, and LARS on its schedule.
"""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from official_names import SUFFIX, head_key, images, resnet_keys, to_torch
from torch import nn

from mmsimclr.engine import LARS, scaled_lr, warmup_cosine_lr
from mmsimclr.models import NonLinearNeck, ResNet
from mmsimclr.models.losses import nt_xent_loss

# Relative to the largest entry of a tensor; the official run is in float32.
TOLERANCE = 5e-5


class Model(nn.Module):
    """Encoder, projection head and supervised head side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet(18, 0.125, stem='cifar', project_first_shortcut=True)
        width = self.backbone.feat_dim
        self.neck = NonLinearNeck(width, width, 128, num_layers=3, with_last_bn_affine='scale')
        self.probe = nn.Linear(width, 10)


def keys_of(names: list[str]) -> dict[str, str]:
    """Return our key for every official variable of the model."""
    keys = {name: f'backbone.{key}' for name, key in
            resnet_keys([name for name in names if name.startswith('resnet/')]).items()}
    for name in names:
        if name.startswith('projection_head/'):
            keys[name] = f'neck.{head_key(name)}'
        elif name.startswith('head_supervised/'):
            variable = name.removesuffix(':0').split('/')[-1]
            keys[name] = f'probe.{SUFFIX.get(variable, variable)}'
    return keys


def assert_near(got: torch.Tensor, want: torch.Tensor, what: str, tolerance: float) -> None:
    error = ((got - want).abs().max() / want.abs().max().clamp_min(1e-12)).item()
    assert error < tolerance, f'{what}: {error:.2e} of its maximum'


@pytest.fixture(scope='module')
def official(golden_file):
    stored = np.load(golden_file('train_steps/r18_w0.125_cifar.npz'))
    record = json.loads(golden_file('train_steps/r18_w0.125_cifar.json').read_text())
    return stored, record


def build(official: tuple, dtype: torch.dtype) -> Model:
    stored, record = official
    model = Model()
    keys = keys_of(record['variables'])
    weights = {keys[name]: to_torch(stored[f'before/{name}']) for name in record['variables']}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(key.endswith(('num_batches_tracked', 'neck.bn2.bias')) for key in missing)
    return model.to(dtype).train()


def losses_of(model: Model, features: np.ndarray, labels: np.ndarray, flags: dict) -> tuple:
    """Return contrastive, supervised and decay loss, projections and logits of one batch."""
    views = images(features).to(model.probe.weight.dtype).split(3, dim=1)
    maps = model.backbone(torch.cat(views))  # of [2N, 3, H, W], first all first views
    (projection,) = model.neck(maps)
    logits = model.probe(maps[0].mean(dim=(2, 3)).detach())
    contrast = nt_xent_loss(*projection.chunk(2), flags['temperature'], gradient='google')
    supervised = F.cross_entropy(logits, torch.from_numpy(labels).long().repeat(2))
    # Under LARS the official code adds the decay of the supervised head's kernel to the loss.
    decay = flags['weight_decay'] * 0.5 * model.probe.weight.square().sum()
    return contrast, supervised, decay, projection, logits


def build_lars(model: Model, flags: dict) -> LARS:
    plain, excluded = [], []
    for name, parameter in model.named_parameters():
        alone = parameter.ndim == 1 or name.startswith('probe.')
        (excluded if alone else plain).append(parameter)
    return LARS([{'params': plain},
                 {'params': excluded, 'lars_exclude': True, 'weight_decay': 0.0}],
                lr=1.0, momentum=flags['momentum'], weight_decay=flags['weight_decay'])


def check_forward(losses: tuple, stored, t: int, expected: dict, tolerance: float) -> None:
    contrast, supervised, decay, projection, logits = losses
    assert 2 * contrast.item() == pytest.approx(expected['contrast_loss'], rel=tolerance)
    assert supervised.item() == pytest.approx(expected['sup_loss'], rel=tolerance)
    assert decay.item() == pytest.approx(expected['weight_decay_loss'], rel=tolerance)
    for name, got in (('proj_out', projection), ('logits_sup', logits)):
        assert_near(got, torch.from_numpy(stored[f'step{t}/{name}']), f'{name} of step {t}',
                    tolerance)


def test_first_step_in_float32_gives_the_official_losses_and_gradients(official):
    stored, record = official
    model, keys = build(official, torch.float32), keys_of(record['variables'])
    losses = losses_of(model, stored['features'][0], stored['labels'][0], record['flags'])
    check_forward(losses, stored, 0, record['steps'][0], TOLERANCE)
    sum(losses[:3]).backward()
    for name in record['trainable']:
        assert_near(model.get_parameter(keys[name]).grad, to_torch(stored[f'step0/grad/{name}']),
                    f'gradient of {name}', 2 * TOLERANCE)


def test_three_training_steps_equal_the_official_ones(official):
    """Compare weights and momenta after three steps.

    In float64: rounding to float32 may put a unit on the other side of its ReLU's kink, and one
    such unit changes the gradients by a percent.
    """
    stored, record = official
    flags, keys = record['flags'], keys_of(record['variables'])
    model = build(official, torch.float64)
    optimizer = build_lars(model, flags)
    peak = scaled_lr(flags['learning_rate'], flags['train_batch_size'],
                     flags['learning_rate_scaling'])
    for t, expected in enumerate(record['steps']):
        losses = losses_of(model, stored['features'][t], stored['labels'][t], flags)
        check_forward(losses, stored, t, expected, TOLERANCE)
        optimizer.zero_grad()
        sum(losses[:3]).backward()
        lr = warmup_cosine_lr(t, peak, 0, flags['total_steps'])
        assert lr == pytest.approx(expected['lr'], rel=1e-6)
        for group in optimizer.param_groups:
            group['lr'] = lr
        optimizer.step()

    for name in record['trainable']:
        parameter = model.get_parameter(keys[name])
        assert_near(parameter.detach(), to_torch(stored[f'after_step3/{name}']), name, TOLERANCE)
        assert_near(optimizer.state[parameter]['momentum_buffer'],
                    to_torch(stored[f'momentum_after_step3/{name}']), f'momentum of {name}',
                    TOLERANCE)
