"""Parameters that LARS scaling and weight decay skip, listed block by block."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmsimclr.engine import LARS, LARSOptimWrapperConstructor
from mmsimclr.models import ContrastiveHead, NonLinearNeck, ResNet, SimCLR
from mmsimclr.registry import MODELS

# ResNet-50: blocks per stage, He et al. 2016, Table 1. The head has a bias in its last layer.
BLOCKS = (3, 4, 6, 3)
OPENMMLAB = {
    'bn': dict(decay_mult=0, lars_exclude=True),
    'bias': dict(decay_mult=0, lars_exclude=True),
    'downsample.1': dict(decay_mult=0, lars_exclude=True),
}


def norm(name: str) -> list[str]:
    return [f'{name}.weight', f'{name}.bias']


def listed_by_hand() -> list[str]:
    names = norm('backbone.bn1')
    for stage, count in enumerate(BLOCKS, start=1):
        for block in range(count):
            prefix = f'backbone.layer{stage}.{block}'
            names += [*norm(f'{prefix}.bn1'), *norm(f'{prefix}.bn2'), *norm(f'{prefix}.bn3')]
            if block == 0:
                names += norm(f'{prefix}.downsample.1')
    return [*names, *norm('neck.bn0'), 'neck.fc1.bias', *norm('neck.bn1')]


@pytest.fixture(scope='module')
def resnet50() -> nn.Module:
    return MODELS.build(dict(
        type=SimCLR, backbone=dict(type=ResNet, depth=50, base_channels=4),
        neck=dict(type=NonLinearNeck, in_channels=128, hid_channels=128, out_channels=8,
                  with_last_bias=True),
        head=dict(type=ContrastiveHead)))


def build(model: nn.Module, paramwise_cfg: dict | None = None, **optimizer):
    config = dict(constructor=LARSOptimWrapperConstructor, optimizer={
        **dict(type=LARS, lr=0.3, weight_decay=1e-6), **optimizer})
    if paramwise_cfg is not None:
        config['paramwise_cfg'] = paramwise_cfg
    return build_optim_wrapper(model, config).optimizer


def skipped_by_rule(model: nn.Module) -> dict:
    group, = (group for group in build(model).param_groups if group['lars_exclude'])
    return group


def names_in(model: nn.Module, group: dict) -> list[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for parameter in group['params']]


def test_exactly_the_listed_parameters_of_resnet50_and_head_are_skipped(resnet50):
    # 1 + 48 + 4 norms of the encoder and 2 of the head, two parameters each, and one bias.
    assert len(listed_by_hand()) == 2 * (1 + 3 * 16 + 4 + 2) + 1
    assert names_in(resnet50, skipped_by_rule(resnet50)) == listed_by_hand()


@pytest.mark.parametrize('paramwise', [None, {}, dict(custom_keys=OPENMMLAB)],
                         ids=['rule', 'empty', 'openmmlab'])
def test_two_groups_one_of_them_without_decay_and_scaling(resnet50, paramwise):
    optimizer = build(resnet50, paramwise)
    assert len(optimizer.param_groups) == 2
    kept, skipped = sorted(optimizer.param_groups, key=lambda group: group['lars_exclude'])
    assert (kept['weight_decay'], kept['lars_exclude']) == (1e-6, False)
    assert (skipped['weight_decay'], skipped['lars_exclude']) == (0, True)
    assert sorted(names_in(resnet50, skipped)) == sorted(listed_by_hand())
    everything = names_in(resnet50, kept) + names_in(resnet50, skipped)
    assert sorted(everything) == sorted(name for name, _ in resnet50.named_parameters())


def test_custom_keys_are_followed_instead_of_the_rule(resnet50):
    optimizer = build(resnet50, dict(custom_keys={'neck': dict(decay_mult=2, lr_mult=0.5)}))
    groups = {(group['lr'], group['weight_decay'], group['lars_exclude']): names_in(resnet50, group)
              for group in optimizer.param_groups}
    assert set(groups) == {(0.3, 1e-6, False), (0.15, 2e-6, False)}
    assert sorted(groups[0.15, 2e-6, False]) == sorted(
        name for name, _ in resnet50.named_parameters() if name.startswith('neck.'))


class Zoo(nn.Module):
    """Norms and biases of many kinds, under names that say nothing."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv1d(2, 4, 1), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True))
        self.b = nn.LayerNorm(4)
        self.c = nn.MultiheadAttention(4, 2)
        self.d = nn.SyncBatchNorm(4)
        self.unbiased = nn.Linear(4, 4, bias=False)
        self.token = nn.Parameter(torch.zeros(4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.shared = self.unbiased
        if hasattr(nn, 'RMSNorm'):
            self.e = nn.RMSNorm(4)


def test_the_rule_looks_at_parameters_not_at_names_of_layers():
    model = Zoo()
    expected = ['a.0.bias', *norm('a.1'), *norm('a.2'), *norm('b'), 'c.in_proj_bias', 'c.out_proj.bias',
                *norm('d')] + (['e.weight'] if hasattr(model, 'e') else [])
    kept, skipped = build(model).param_groups
    assert names_in(model, skipped) == expected
    assert sorted(names_in(model, kept)) == [
        'a.0.weight', 'c.in_proj_weight', 'c.out_proj.weight', 'token', 'unbiased.weight']


def test_one_constructor_builds_the_same_groups_twice():
    constructor = LARSOptimWrapperConstructor(dict(optimizer=dict(type=LARS, lr=0.3)))
    first, second = (constructor(Zoo()).optimizer.param_groups for _ in range(2))
    assert [len(group['params']) for group in first] == [len(group['params']) for group in second]
    assert [group['lars_exclude'] for group in second] == [False, True]


def test_the_rule_serves_other_optimizers_too():
    optimizer = build(Zoo(), type=torch.optim.AdamW, lr=1e-3, weight_decay=0.05)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group['weight_decay'] for group in optimizer.param_groups] == [0.05, 0.0]


def test_default_optimizer_settings_reach_both_groups(resnet50):
    optimizer = build(resnet50, eta=0.02, trust_ratio='openmmlab')
    assert isinstance(optimizer, LARS)
    assert [(group['eta'], group['trust_ratio']) for group in optimizer.param_groups] == [
        (0.02, 'openmmlab')] * 2
