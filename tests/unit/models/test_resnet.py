import math
import warnings

import pytest
import torch
from torch import nn

from mmsimclr.checkpoints.encoder_weights import BASIC_DEPTHS, NUM_BLOCKS
from mmsimclr.errors import InputError
from mmsimclr.models import ResNet
from mmsimclr.models.backbones.resnet import ARCHITECTURES, BasicBlock, StemPool
from mmsimclr.registry import MODELS


def small(**kwargs) -> ResNet:
    return ResNet(**{'depth': 18, 'base_channels': 8, 'stem': 'cifar', **kwargs})


def images(side: int = 32, n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('depth, stem, channels, sides', [
    (18, 'imagenet', (8, 16, 32, 64), (24, 12, 6, 3)),
    (50, 'imagenet', (32, 64, 128, 256), (24, 12, 6, 3)),
    (18, 'cifar', (8, 16, 32, 64), (96, 48, 24, 12)),
])
def test_each_stage_halves_the_side_and_doubles_the_channels(depth, stem, channels, sides):
    maps = small(depth=depth, stem=stem, out_indices=(0, 1, 2, 3)).eval()(images(96, n=1))
    expected = [(c, side, side) for c, side in zip(channels, sides, strict=True)]
    assert [tuple(m.shape[1:]) for m in maps] == expected


@pytest.mark.parametrize('multiplier', [0.125, 2, 4])
def test_width_multiplier_scales_every_layer_from_the_stem_on(multiplier):
    plain = small().state_dict()
    wide = small(width_multiplier=multiplier)
    for key, value in wide.state_dict().items():
        expected = [size if size == 3 else size * multiplier for size in plain[key].shape[:2]]
        assert list(value.shape[:2]) == expected, key
    assert wide.feat_dim == 64 * multiplier


def test_a_wide_resnet50_has_the_parameter_count_of_the_paper():
    # Chen et al. 2020, Table 6: 24, 94 and 375 million.
    with torch.device('meta'):
        counts = [sum(p.numel() for p in ResNet(50, width).parameters()) for width in (1, 2, 4)]
    assert [round(count / 1e6) for count in counts] == [24, 94, 375]


def test_base_channels_shrink_the_network():
    assert small(base_channels=16).feat_dim == 128
    assert ResNet(50, base_channels=16, stem='cifar').feat_dim == 512


@pytest.mark.parametrize('width', [0, -1, 0.5, math.nan, math.inf])
def test_a_width_that_is_no_number_of_channels_is_refused(width):
    with pytest.raises(InputError, match='must be a whole number of channels, got'):
        small(base_channels=width)


def test_maps_come_in_the_order_of_the_network_and_the_stem_is_taken_before_its_pool():
    net = ResNet(18, base_channels=8, out_indices=(3, 'stem', 0)).eval()
    stem, first, last = net(images(224, n=1))
    assert [m.shape[-1] for m in (stem, first, last)] == [112, 56, 7]
    x = images(224, n=1)
    torch.testing.assert_close(stem, net.bn1(net.conv1(x)).relu())
    torch.testing.assert_close(first, net.layer1(net.maxpool(stem)))


def test_later_stages_do_not_overwrite_a_returned_map():
    net = small(out_indices=('stem', 0)).eval()
    stem, first = net(images())
    torch.testing.assert_close(stem, net.relu(net.bn1(net.conv1(images()))))
    torch.testing.assert_close(first, net.layer1(stem))


@pytest.mark.parametrize('frozen', [-1, 0, 1, 4])
def test_frozen_stages_take_no_gradient_and_keep_their_statistics_through_train(frozen):
    net = small(frozen_stages=frozen).eval().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    out = net(images(n=4))[0]
    if frozen < 4:
        out.square().sum().backward()
    parts = [('conv1', 'bn1'), ('layer1',), ('layer2',), ('layer3',), ('layer4',)]
    for number, names in enumerate(parts):
        for name in names:
            module = net.get_submodule(name)
            for key, parameter in module.named_parameters():
                assert parameter.requires_grad == (number > frozen), f'{name}.{key}'
            for key, buffer in module.named_buffers():
                kept = torch.equal(buffer, before[f'{name}.{key}'])
                assert kept == (number <= frozen), f'{name}.{key}'
    assert net.training and out.requires_grad == (frozen < 4)


def test_norm_eval_keeps_the_statistics_but_trains_the_affine_part():
    net = small(norm_eval=True).train()
    before = net.bn1.running_mean.clone()
    net(images())[0].square().sum().backward()
    assert torch.equal(net.bn1.running_mean, before)
    assert net.bn1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('depth', [18, 50])
def test_zero_init_residual_makes_every_later_block_the_identity(depth):
    net = ResNet(depth, base_channels=8, stem='cifar').eval()
    x = torch.rand(1, net.layer2[0].conv1.in_channels, 8, 8)
    entry = net.layer2[0](x)
    torch.testing.assert_close(net.layer2[1:](entry), entry)
    zeroed = {name for name, module in net.named_modules()
              if isinstance(module, nn.BatchNorm2d) and module.weight.max() == 0}
    last = 'bn2' if depth == 18 else 'bn3'
    assert zeroed == {name for name, _ in net.named_modules() if name.endswith(last)}
    kept = ResNet(depth, base_channels=8, stem='cifar', zero_init_residual=False)
    assert all(module.weight.min() == 1 for module in kept.modules()
               if isinstance(module, nn.BatchNorm2d))


def test_convolutions_start_with_the_variance_of_kaiming_fan_out():
    weight = ResNet(18, stem='cifar').layer3[0].conv1.weight  # [256, 128, 3, 3]
    assert weight.var().item() == pytest.approx(2 / (256 * 9), rel=0.02)


@pytest.mark.parametrize('side, expected', [
    (4, [[10, 11], [14, 15]]),  # even: windows 0-2 and 2-3 of each axis; torch's: 0-1 and 1-3
    (5, [[6, 8, 9], [16, 18, 19], [21, 23, 24]]),  # odd: 0-1, 1-3, 3-4, as torch's
])
def test_same_pool_pads_even_sides_after_only(side, expected):
    x = torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side)
    assert StemPool('same')(x)[0, 0].tolist() == expected


def test_stem_pool_chooses_the_padding():
    x = images(96, n=1)
    net = ResNet(18, base_channels=8, out_indices=('stem', 0), stem_pool='same').eval()
    stem, first = net(x)
    padded = nn.functional.pad(stem, (0, 1, 0, 1))
    torch.testing.assert_close(first, net.layer1(nn.functional.max_pool2d(padded, 3, 2)))
    net.maxpool = ResNet(18, base_channels=8).maxpool
    assert not torch.allclose(first, net(x)[1])


def test_the_7x7_stem_warns_once_of_small_images_and_names_the_alternative():
    net = ResNet(18, base_channels=8).eval()
    with pytest.warns(UserWarning, match=r"64x64 pixels.*stem='cifar'"):
        net(images(64))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        net(images(64))
        ResNet(18, base_channels=8).eval()(images(65))
        small().eval()(images(32))


def test_project_first_shortcut_adds_only_that_projection():
    added = set(small(project_first_shortcut=True).state_dict()) - set(small().state_dict())
    assert {key.rsplit('.', 1)[0] for key in added} == {
        'layer1.0.downsample.0', 'layer1.0.downsample.1'}
    deep = ResNet(50, base_channels=8, project_first_shortcut=True)
    assert list(deep.state_dict()) == list(ResNet(50, base_channels=8).state_dict())


def test_channels_last_gives_the_same_maps_and_keeps_the_layout():
    net = ResNet(50, base_channels=8, out_indices=('stem', 0, 3), stem_pool='same').eval()
    expected = net(images(96))
    maps = net.to(memory_format=torch.channels_last)(
        images(96).to(memory_format=torch.channels_last))
    for got, want in zip(maps, expected, strict=True):
        assert got.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_plain_bn_can_be_made_global():
    net = nn.SyncBatchNorm.convert_sync_batchnorm(small())
    norms = [module for module in net.modules() if hasattr(module, 'running_mean')]
    assert len(norms) == 20 and all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)


def test_norm_cfg_chooses_type_epsilon_and_gradient():
    assert small(norm_eps=1e-3).layer4[1].bn2.eps == 1e-3
    assert small(norm_cfg={'type': 'BN', 'eps': 1e-2, 'momentum': 0.3}).bn1.eps == 1e-2
    assert small(norm_cfg={'type': nn.BatchNorm2d, 'momentum': 0.3}).bn1.momentum == 0.3
    grouped = small(norm_cfg={'type': 'GN', 'num_groups': 4})
    assert isinstance(grouped.layer2[0].downsample[1], nn.GroupNorm)
    assert torch.isfinite(grouped(images())[0]).all()
    assert not small(norm_cfg={'type': 'BN', 'requires_grad': False}).bn1.weight.requires_grad


def test_is_built_from_a_config_and_pretrained_weights_survive_init_weights(tmp_path):
    source = small(zero_init_residual=False)
    torch.save(source.state_dict(), tmp_path / 'encoder.pth')
    net = MODELS.build({
        'type': 'mmsimclr.ResNet', 'depth': 18, 'base_channels': 8, 'stem': 'cifar',
        'init_cfg': {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'encoder.pth')}})
    net.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(net.state_dict()[key], value), key


@pytest.mark.parametrize('kwargs, message', [
    ({'depth': 20}, 'depth must be one of 18, 34, 50, 101, 152, got 20'),
    ({'stem': 'cifra'}, r"stem must be one of .* got 'cifra'; did you mean 'cifar'"),
    ({'stem_pool': 'valid'}, "stem_pool must be one of 'torch', 'same', got 'valid'"),
    ({'out_indices': (4,)}, "out_indices must be one of 'stem', 0, 1, 2, 3, got 4"),
    ({'out_indices': ('stme',)}, r"got 'stme'; did you mean 'stem'"),
    ({'out_indices': ()}, r'out_indices must be a non-empty sequence, got \(\)'),
    ({'out_indices': 3}, r'out_indices must be a non-empty sequence, got 3'),
    ({'frozen_stages': 5}, r'frozen_stages must be one of .* got 5'),
    ({'norm_cfg': {'type': 'SyncBn'}}, r"norm_cfg\['type'\] .* did you mean 'SyncBN'"),
    ({'width_multiplier': 0.3}, r'base_channels \* width_multiplier .* got 8 \* 0.3'),
    ({'width_multiplier': 0}, r'base_channels \* width_multiplier .* got 8 \* 0'),
])
def test_a_wrong_argument_is_refused_by_name(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small(**kwargs)


def test_the_depths_are_those_that_checkpoints_know():
    """Models and checkpoints do not import each other, so each has the table."""
    assert {depth: num_blocks for depth, (_, num_blocks) in ARCHITECTURES.items()} == NUM_BLOCKS
    assert tuple(depth for depth, (block, _) in ARCHITECTURES.items() if block is BasicBlock) == BASIC_DEPTHS
