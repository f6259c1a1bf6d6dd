"""The encoder is found under the names of every library, and the right one is."""

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from mmengine.registry import init_default_scope
from torch import nn

from mmsimclr.checkpoints import (
    LayoutError,
    UnsupportedEncoderError,
    build_encoder,
    load_encoder,
    read_encoder,
)
from mmsimclr.models import ResNet
from mmsimclr.registry import MODELS

FOREIGN = json.loads((Path(__file__).parents[2] / 'data/foreign_state_dict_names.json').read_text())


def trained(module: nn.Module) -> nn.Module:
    """Return the module with statistics and norms unlike a fresh one's, so that each tensor matters."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in module.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.5, 2, generator=generator)
        elif name.endswith(('running_mean', 'bias')):
            tensor.uniform_(-0.2, 0.2, generator=generator)
        elif name.endswith('num_batches_tracked'):
            tensor.fill_(7)
        elif tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


@pytest.fixture(scope='module')
def resnet18() -> nn.Module:
    torch.manual_seed(0)
    return trained(torchvision.models.resnet18())


def prefixed(prefix: str, state_dict: dict) -> dict:
    return {f'{prefix}{key}': value for key, value in state_dict.items()}


def without_fc(model: nn.Module) -> dict:
    return {key: value for key, value in model.state_dict().items() if not key.startswith('fc.')}


def features_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the pooled features of torchvision's ResNet, layer by layer, without its forward."""
    x = model.maxpool(torch.relu(model.bn1(model.conv1(images))))
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
    return x.mean((2, 3))


@torch.no_grad()
def check_features(source, model: nn.Module, side: int = 96) -> None:
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    encoder, report = build_encoder(source)
    assert report.matched == report.expected == len(without_fc(model))
    torch.testing.assert_close(encoder(images)[-1].mean((2, 3)), features_of(model, images))


def wrappings(model: nn.Module) -> dict[str, tuple[dict, str]]:
    """Return, by name, a checkpoint as others save it, and how its layout must be called."""
    bare = without_fc(model)
    other = {key: torch.zeros_like(value) for key, value in bare.items()}
    neck = {'neck.fc0.weight': torch.ones(64, 512), 'neck.bn0.weight': torch.ones(64)}
    return {
        'bare': (bare, 'ResNet keys without a prefix'),
        'torchvision': (model.state_dict(), 'torchvision/timm'),
        'DDP': ({'state_dict': prefixed('module.', model.state_dict())}, 'torchvision/timm, in DDP'),
        'compiled in DDP': (prefixed('module._orig_mod.', bare), 'ResNet keys, in DDP'),
        'OpenMMLab 1.x': ({'meta': {'mmengine_version': '0.10.1', 'cfg': 'text'},
                           'state_dict': {**prefixed('backbone.', bare), **neck}}, 'OpenMMLab 1.x model'),
        'OpenMMLab 0.x': ({'meta': {'mmselfsup_version': '0.9', 'CLASSES': ['a']},
                           'state_dict': {**prefixed('backbone.', bare), 'neck.mlp.0.weight': torch.ones(2)}},
                          'OpenMMLab 0.x model'),
        'OpenMMLab BYOL': ({'state_dict': {**prefixed('online_net.0.', bare),
                                           **prefixed('target_net.0.', other)}}, 'OpenMMLab model'),
        'MoCo': ({'epoch': 200, 'arch': 'resnet18', 'state_dict': {
            **prefixed('module.encoder_k.', other), **prefixed('module.encoder_q.', bare),
            'module.encoder_q.fc.0.weight': torch.ones(4), 'module.queue': torch.ones(2, 3)}},
            'MoCo-style (encoder_q), in DDP'),
        'OpenMMLab MoCo': ({'state_dict': {**prefixed('encoder_q.0.', bare),
                                           **prefixed('encoder_k.0.', other)}}, 'MoCo-style (encoder_q)'),
        'VISSL': ({'phase': 1, 'classy_state_dict': {'base_model': {'model': {
            'trunk': prefixed('base_model._feature_blocks.', bare),
            'heads': {'0.clf.weight': torch.ones(2)}}}}}, 'VISSL'),
        'VISSL, converted': ({'model': prefixed('_feature_blocks.', bare)}, 'VISSL'),
        'MMEngine EMA': ({'meta': {'mmengine_version': '0.10.1'}, 'state_dict': prefixed('backbone.', bare),
                          'ema_state_dict': {'steps': torch.tensor(3),
                                             **prefixed('module.backbone.', other)}}, 'OpenMMLab 1.x model'),
        'timm EMA': ({'arch': 'resnet18', 'state_dict': bare, 'state_dict_ema': other},
                     'ResNet keys without a prefix'),
        'mmcv EMA': ({'meta': {'mmcv_version': '1.7'}, 'state_dict': {
            **prefixed('backbone.', bare),
            **{f'ema_backbone_{key.replace(".", "_")}': value for key, value in other.items()}}},
            'OpenMMLab 0.x model'),
        'Lightning': ({'pytorch-lightning_version': '2.1', 'state_dict': prefixed('model.', bare)},
                      'ResNet keys'),
        'SimSiam port': ({'state_dict': prefixed('backbone.', model.state_dict())}, 'OpenMMLab model'),
    }


@pytest.mark.parametrize('name', wrappings(torchvision.models.resnet18()))
def test_encoder_is_found_in_every_wrapping(name, resnet18, tmp_path):
    content, layout = wrappings(resnet18)[name]
    torch.save(content, tmp_path / 'x.pth')
    found = read_encoder(tmp_path / 'x.pth')
    assert found.layout.startswith(layout)
    assert found.tensors.keys() == without_fc(resnet18).keys()
    for key, tensor in without_fc(resnet18).items():
        assert torch.equal(found.tensors[key], tensor), key
    assert found.settings['depth'] == 18 and found.settings['width_multiplier'] == 1


@pytest.mark.parametrize('name', ['MoCo', 'MMEngine EMA', 'timm EMA', 'mmcv EMA', 'OpenMMLab BYOL'])
def test_the_slow_copy_is_taken_only_when_named(name, resnet18, tmp_path):
    content, _ = wrappings(resnet18)[name]
    torch.save(content, tmp_path / 'x.pth')
    [address] = read_encoder(tmp_path / 'x.pth').alternatives
    found = read_encoder(tmp_path / 'x.pth', select=address)
    assert not any(tensor.any() for tensor in found.tensors.values())
    assert 'moving average' in found.layout or 'encoder_k' in found.layout


def test_two_encoders_that_differ_must_be_told_apart_by_the_user(resnet18, tmp_path):
    other = torchvision.models.resnet18()
    torch.save({**prefixed('left.', without_fc(resnet18)), **prefixed('right.', without_fc(other))},
               tmp_path / 'x.pth')
    with pytest.raises(LayoutError, match=r"several encoders that differ: :left\., :right\.\. Say which"):
        read_encoder(tmp_path / 'x.pth')
    assert torch.equal(read_encoder(tmp_path / 'x.pth', select='right.').tensors['conv1.weight'],
                       other.conv1.weight)
    with pytest.raises(LayoutError, match=r"no encoder at 'middle\.'; it has :left\., :right\."):
        read_encoder(tmp_path / 'x.pth', select='middle.')


def test_twice_the_same_encoder_is_no_question(resnet18, tmp_path):
    torch.save({'a': prefixed('left.', without_fc(resnet18)), 'b': without_fc(resnet18)}, tmp_path / 'x.pth')
    assert read_encoder(tmp_path / 'x.pth').alternatives == ('b:',)


def test_lightly_with_torchvisions_resnet(resnet18, tmp_path):
    state_dict = prefixed('backbone.', nn.Sequential(*list(resnet18.children())[:-1]).state_dict())
    heads = {name: torch.zeros(1) for name in FOREIGN['lightly_torchvision_resnet18']
             if name.startswith('projection_head.')}
    assert [*state_dict, *heads] == FOREIGN['lightly_torchvision_resnet18']
    torch.save({'pytorch-lightning_version': '2.6', 'state_dict': state_dict | heads}, tmp_path / 'x.ckpt')
    assert read_encoder(tmp_path / 'x.ckpt').layout == 'lightly (backbone.)'
    check_features(tmp_path / 'x.ckpt', resnet18)


def test_lightlys_own_cifar_resnet(tmp_path):
    """Its numbers skip ReLU and pool, and it says 'shortcut'."""
    ours = trained(ResNet(depth=18, stem='cifar'))
    torchvisions = iter(ours.state_dict().items())
    content = {}
    for name in FOREIGN['lightly_cifar_resnet18']:
        if name.startswith('projection_head.'):
            content[name] = torch.zeros(1)
        else:
            key, content[name] = next(torchvisions)
            assert key.split('.')[-1] == name.split('.')[-1]
    torch.save({'state_dict': content}, tmp_path / 'x.ckpt')
    encoder, report = build_encoder(tmp_path / 'x.ckpt')
    assert report.matched == 120 and report.layout == 'lightly (backbone.)'
    for key, tensor in ours.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], tensor), key


def test_solo_learn_pads_its_cifar_stem_by_two(tmp_path):
    """Its tensors do not show it; with the usual padding of 1 the features differ."""
    model = torchvision.models.resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=2, bias=False)
    model.maxpool = model.fc = nn.Identity()
    trained(model)
    names = FOREIGN['solo_learn_cifar_resnet18']
    content = dict(prefixed('encoder.', model.state_dict()))
    content.update({name: torch.zeros(1) for name in names if name.startswith(('classifier.', 'projector.'))})
    assert sorted(content) == sorted(names)
    torch.save({'pytorch-lightning_version': '1.5', 'state_dict': content}, tmp_path / 'x.ckpt')
    assert read_encoder(tmp_path / 'x.ckpt').settings['stem_padding'] == 2
    check_features(tmp_path / 'x.ckpt', model, side=32)

    report = load_encoder(ResNet(depth=18, stem='cifar'), tmp_path / 'x.ckpt')
    assert report.applied == {'stem_padding': 2}


def test_timm(tmp_path):
    model = trained(timm.create_model('resnet50', num_classes=7))
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    images = torch.rand(2, 3, 96, 96)
    encoder, _ = build_encoder(tmp_path / 'x.pth')
    with torch.no_grad():
        torch.testing.assert_close(encoder(images)[-1], model.forward_features(images))


def test_mmpretrain_model(tmp_path):
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(
        type='mmpretrain.SimCLR', backbone=dict(type='ResNet', depth=18),
        neck=dict(type='NonLinearNeck', in_channels=512, hid_channels=256, out_channels=64, num_layers=2,
                  with_avg_pool=True, norm_cfg=dict(type='BN1d')),
        head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.1)))
    trained(model)
    torch.save({'meta': {'mmengine_version': '0.10.1'}, 'state_dict': model.state_dict()}, tmp_path / 'x.pth')
    found = read_encoder(tmp_path / 'x.pth')
    encoder, report = build_encoder(found)
    images, maps = torch.rand(2, 3, 96, 96), torch.rand(2, 512, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images)[-1], model.backbone(images)[-1])
        neck = MODELS.build(dict(type='mmsimclr.NonLinearNeck', **found.neck_settings))
        neck.load_state_dict(dict(found.neck))
        torch.testing.assert_close(neck.eval()((maps,))[0], model.neck((maps,))[0])
    assert found.neck_settings['hid_channels'] == 256 and found.neck_settings['num_layers'] == 2
    assert report.others == {}, 'backbone and neck are all there is'


@pytest.mark.parametrize('last_bn', [True, False, 'scale'])
@pytest.mark.parametrize('layers', [1, 2, 3])
def test_projection_head_is_rebuilt_from_its_tensors(last_bn, layers, tmp_path):
    arguments = dict(in_channels=64, hid_channels=32, out_channels=16, num_layers=layers,
                     with_bias=layers > 1, with_last_bn=True, with_last_bn_affine=last_bn,
                     with_last_bias=last_bn is False)
    neck = MODELS.build(dict(type='mmsimclr.NonLinearNeck', **arguments))
    backbone = ResNet(depth=18, width_multiplier=1 / 8)
    torch.save({**prefixed('backbone.', backbone.state_dict()), **prefixed('neck.', neck.state_dict())},
               tmp_path / 'x.pth')
    found = read_encoder(tmp_path / 'x.pth')
    rebuilt = MODELS.build(dict(type='mmsimclr.NonLinearNeck', **found.neck_settings))
    assert rebuilt.load_state_dict(dict(found.neck)).missing_keys == []
    if layers > 1:
        assert found.neck_settings == arguments


ARCHITECTURES = [
    dict(depth=18, width_multiplier=0.125, stem='cifar'), dict(depth=34, width_multiplier=0.125),
    dict(depth=18, width_multiplier=0.25, project_first_shortcut=True),
    dict(depth=50, width_multiplier=0.125, stem='cifar'), dict(depth=50, width_multiplier=0.25),
    dict(depth=101, width_multiplier=0.125), dict(depth=152, width_multiplier=0.125),
    dict(depth=18, width_multiplier=2),
]


@pytest.mark.parametrize('arguments', ARCHITECTURES, ids=lambda a: '-'.join(map(str, a.values())))
def test_architecture_is_seen_in_the_tensors(arguments, tmp_path):
    torch.save(ResNet(**arguments).state_dict(), tmp_path / 'x.pth')
    expected = dict(stem='imagenet', project_first_shortcut=False) | arguments
    assert read_encoder(tmp_path / 'x.pth').settings == expected


@pytest.mark.parametrize(('model', 'message'), [
    (lambda: torchvision.models.wide_resnet50_2(), 'wide ResNet or ResNeXt'),
    (lambda: torchvision.models.resnext50_32x4d(), 'wide ResNet or ResNeXt'),
    (lambda: timm.create_model('resnet18d'), 'deep stem'),
    (lambda: timm.create_model('vit_tiny_patch16_224'), 'vision transformer'),
    (lambda: timm.create_model('resnet14t'), 'deep stem'),
])
def test_what_is_not_built_here_is_refused_by_name(model, message, tmp_path):
    torch.save(model().state_dict(), tmp_path / 'x.pth')
    with pytest.raises(UnsupportedEncoderError, match=message):
        read_encoder(tmp_path / 'x.pth')


def test_a_network_of_another_kind_is_described(tmp_path):
    torch.save(torchvision.models.squeezenet1_0().state_dict(), tmp_path / 'x.pth')
    message = r'52 tensors, but no ResNet .* begin with features\.3 \(6\), .*classifier'
    with pytest.raises(LayoutError, match=message):
        read_encoder(tmp_path / 'x.pth')


def test_a_file_without_tensors_is_told(tmp_path):
    torch.save({'epoch': 3, 'note': 'weights elsewhere'}, tmp_path / 'x.pth')
    with pytest.raises(LayoutError, match='holds no tensors at all, only epoch, note'):
        read_encoder(tmp_path / 'x.pth')
