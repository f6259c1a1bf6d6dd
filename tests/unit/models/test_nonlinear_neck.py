"""The neck against hand-built Sequentials and against mmpretrain's."""

import copy

import pytest
import torch
from mmpretrain.models.necks import NonLinearNeck as MMPretrainNeck
from torch import nn
from torch.testing import assert_close

from mmsimclr.models import NonLinearNeck
from mmsimclr.registry import MODELS

IN, HIDDEN, OUT = 6, 5, 3
BN = dict(type='BN1d')


def maps(side: int = 3) -> torch.Tensor:
    return torch.randn(8, IN, side, side + 1, generator=torch.Generator().manual_seed(0)) + 0.5


def pooled(sequence: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *sequence)


def hand_built(num_layers: int) -> list[nn.Module]:
    fc = nn.Linear
    return {
        0: [],
        1: [fc(IN, OUT, bias=False), nn.BatchNorm1d(OUT)],
        2: [fc(IN, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
            fc(HIDDEN, OUT, bias=False), nn.BatchNorm1d(OUT)],
        3: [fc(IN, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
            fc(HIDDEN, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
            fc(HIDDEN, OUT, bias=False), nn.BatchNorm1d(OUT)],
    }[num_layers]


def scramble(module: nn.Module) -> nn.Module:
    """Give every weight another value, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.3, generator=generator)
    return module


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('num_layers', [0, 1, 2, 3])
def test_output_and_gradients_equal_a_hand_built_sequential(num_layers, training):
    want = scramble(pooled(hand_built(num_layers))).train(training)
    neck = NonLinearNeck(IN, HIDDEN, OUT, num_layers).train(training)
    assert len(neck.state_dict()) == len(want.state_dict())
    neck.load_state_dict(dict(zip(neck.state_dict(), want.state_dict().values(), strict=True)))
    inputs = maps().requires_grad_()
    got, expected = neck((inputs,)), want(inputs)
    assert isinstance(got, tuple) and len(got) == 1
    assert_close(got[0], expected)
    loss, expected_loss = got[0].sin().sum(), expected.sin().sum()
    parameters = [*neck.parameters()], [*want.parameters()]
    assert_close(torch.autograd.grad(loss, [inputs, *parameters[0]]),
                 torch.autograd.grad(expected_loss, [inputs, *parameters[1]]))


def test_no_layers_is_global_average_pooling_without_parameters():
    neck = NonLinearNeck(IN, HIDDEN, OUT, num_layers=0)
    assert not list(neck.parameters())
    assert_close(neck((maps(),))[0], maps().mean(dim=(2, 3)))


def test_one_layer_without_norm_is_linear():
    neck = NonLinearNeck(IN, HIDDEN, OUT, num_layers=1, with_last_bn=False, with_last_bias=True)
    assert_close(neck((maps(),))[0], maps().mean(dim=(2, 3)) @ neck.fc0.weight.T + neck.fc0.bias)


OPTIONS = [
    {}, dict(num_layers=3), dict(with_bias=True), dict(with_last_bias=True), dict(with_last_bn=False),
    dict(with_last_bn_affine=False), dict(num_layers=3, with_bias=True, with_last_bn=False),
]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_mmpretrains_neck_has_the_same_keys_and_the_same_output(options):
    theirs = scramble(MMPretrainNeck(IN, HIDDEN, OUT, **options, norm_cfg=BN))
    ours = NonLinearNeck(IN, HIDDEN, OUT, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    assert_close(ours((maps(),))[0], theirs((maps(),))[0])


def test_no_global_pooling_flattens_the_map():
    neck = NonLinearNeck(IN * 12, HIDDEN, OUT, with_avg_pool=False).eval()
    assert_close(neck((maps(),))[0], neck((maps().flatten(1),))[0])


def test_official_head_has_gamma_and_no_beta_in_its_last_norm():
    neck = NonLinearNeck(IN, IN, OUT, num_layers=3, with_last_bn_affine='scale')
    assert [*dict(neck.named_parameters())] == [
        'fc0.weight', 'bn0.weight', 'bn0.bias', 'fc1.weight', 'bn1.weight', 'bn1.bias',
        'fc2.weight', 'bn2.weight']
    assert_close(neck((maps(),))[0].mean(dim=0), torch.zeros(OUT), rtol=0, atol=1e-6)


@pytest.mark.parametrize('affine', [True, False, 'scale'])
def test_default_norm_becomes_a_global_one_by_torchs_conversion(affine):
    neck = NonLinearNeck(IN, HIDDEN, OUT, with_last_bn_affine=affine)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(neck))
    assert isinstance(converted.bn0, nn.SyncBatchNorm) and isinstance(converted.bn1, nn.SyncBatchNorm)
    assert list(converted.state_dict()) == list(neck.state_dict())
    assert_close(converted.eval()((maps(),))[0], neck.eval()((maps(),))[0])


def test_norm_takes_its_own_arguments_and_can_be_frozen():
    neck = NonLinearNeck(IN, HIDDEN, OUT, norm_cfg=dict(type='BN', eps=1e-3, requires_grad=False))
    assert (neck.bn0.eps, neck.bn1.eps) == (1e-3, 1e-3)
    assert [name for name, p in neck.named_parameters() if not p.requires_grad] == [
        'bn0.weight', 'bn0.bias', 'bn1.weight', 'bn1.bias']


def test_a_shared_norm_config_is_not_changed():
    norm_cfg = dict(type='BN', requires_grad=True)
    NonLinearNeck(IN, HIDDEN, OUT, norm_cfg=norm_cfg)
    assert norm_cfg == dict(type='BN', requires_grad=True)


def test_unknown_norm_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"got 'SynBN'; did you mean 'SyncBN'"):
        NonLinearNeck(IN, HIDDEN, OUT, norm_cfg=dict(type='SynBN'))


@pytest.mark.parametrize('wrong, message', [
    (dict(in_channels=0), 'in_channels must be an integer >= 1, got 0'),
    (dict(out_channels=-1), 'out_channels must be an integer >= 1, got -1'),
    (dict(num_layers=-1), r'num_layers must be an integer in \[0, 100\], got -1'),
    (dict(with_last_bn_affine='gamma'), "True, False, 'scale', got 'gamma'"),
])
def test_arguments_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        NonLinearNeck(**{**dict(in_channels=IN, hid_channels=HIDDEN, out_channels=OUT), **wrong})


def test_several_feature_maps_are_refused():
    neck = MODELS.build(dict(type='NonLinearNeck', in_channels=IN, hid_channels=HIDDEN, out_channels=OUT))
    with pytest.raises(ValueError, match='one feature map, got 2'):
        neck((maps(), maps()))
