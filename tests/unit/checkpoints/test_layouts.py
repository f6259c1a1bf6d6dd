"""The encoder is found under the names of every library, and the right one is."""

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from mmengine.hooks import EMAHook
from mmengine.registry import init_default_scope
from torch import nn

from mmsimclr.checkpoints import (
    CheckpointError,
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


def small_resnet18() -> nn.Module:
    """Return a narrow ResNet-18 with torchvision's keys, a classifier too."""
    model = ResNet(depth=18, width_multiplier=0.125)
    model.fc = nn.Linear(64, 10)
    return trained(model)


@pytest.fixture(scope='module')
def small() -> nn.Module:
    torch.manual_seed(0)
    return small_resnet18()


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
    neck = {'neck.fc0.weight': torch.ones(32, 64), 'neck.bn0.weight': torch.ones(32)}
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


@pytest.mark.parametrize('name', wrappings(small_resnet18()))
def test_encoder_is_found_in_every_wrapping(name, small, tmp_path):
    content, layout = wrappings(small)[name]
    torch.save(content, tmp_path / 'x.pth')
    found = read_encoder(tmp_path / 'x.pth')
    assert found.layout.startswith(layout)
    assert found.tensors.keys() == without_fc(small).keys()
    for key, tensor in without_fc(small).items():
        assert torch.equal(found.tensors[key], tensor), key
    assert found.settings['depth'] == 18 and found.settings['width_multiplier'] == 0.125


@pytest.mark.parametrize('name', ['MoCo', 'timm EMA', 'mmcv EMA', 'OpenMMLab BYOL'])
def test_the_slow_copy_is_taken_only_when_named(name, small, tmp_path):
    content, _ = wrappings(small)[name]
    torch.save(content, tmp_path / 'x.pth')
    [address] = read_encoder(tmp_path / 'x.pth').alternatives
    found = read_encoder(tmp_path / 'x.pth', select=address)
    assert not any(tensor.any() for tensor in found.tensors.values())
    assert 'moving average' in found.layout or 'encoder_k' in found.layout


def test_two_encoders_that_differ_must_be_told_apart_by_the_user(small, tmp_path):
    other = small_resnet18()
    torch.save({**prefixed('left.', without_fc(small)), **prefixed('right.', without_fc(other))},
               tmp_path / 'x.pth')
    with pytest.raises(LayoutError, match=r"several encoders that differ: :left\., :right\.\. Say which"):
        read_encoder(tmp_path / 'x.pth')
    assert torch.equal(read_encoder(tmp_path / 'x.pth', select='right.').tensors['conv1.weight'],
                       other.conv1.weight)
    with pytest.raises(LayoutError, match=r"no encoder at 'middle\.'; it has :left\., :right\."):
        read_encoder(tmp_path / 'x.pth', select='middle.')


def test_twice_the_same_encoder_is_no_question(small, tmp_path):
    torch.save({'a': prefixed('left.', without_fc(small)), 'b': without_fc(small)}, tmp_path / 'x.pth')
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


@pytest.mark.slow
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


def shallow_torchvision(**arguments) -> nn.Module:
    """Return a network of torchvision's with one block per stage."""
    return torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], **arguments)


@pytest.mark.parametrize(('model', 'message'), [
    (lambda: shallow_torchvision(width_per_group=128), 'wide ResNet or ResNeXt'),
    (lambda: shallow_torchvision(groups=32, width_per_group=4), 'wide ResNet or ResNeXt'),
    (lambda: shallow_torchvision(groups=2, width_per_group=32), r'x\.pth: grouped'),
    (lambda: timm.create_model('resnet18d'), 'deep stem'),
    (lambda: timm.create_model('resnet14t'), 'deep stem'),
    (lambda: timm.create_model('vit_tiny_patch16_224', depth=1), 'vision transformer'),
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


def test_mmengines_average_is_taken_and_the_raw_weights_are_offered(tmp_path):
    """Its EMAHook swaps the two when it saves: the average lies in state_dict."""
    raw, average = (ResNet(depth=18, width_multiplier=0.125) for _ in range(2))

    class Model(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone
    hook = EMAHook()
    hook.src_model = Model(raw)
    hook.ema_model = nn.Module()
    hook.ema_model.module = Model(average)
    content = {'meta': {'mmengine_version': '0.10.1'}, 'state_dict': hook.src_model.state_dict()}
    hook.before_save_checkpoint(None, content)
    torch.save(content, tmp_path / 'x.pth')
    found = read_encoder(tmp_path / 'x.pth')
    assert torch.equal(found.tensors['conv1.weight'], average.conv1.weight)
    assert 'moving average' in found.layout
    other = read_encoder(tmp_path / 'x.pth', select=found.alternatives[0])
    assert torch.equal(other.tensors['conv1.weight'], raw.conv1.weight) and 'raw weights' in other.layout


def test_a_prefix_that_fits_two_encoders_is_not_enough(small, tmp_path):
    other = small_resnet18()
    torch.save({'a': prefixed('backbone.', without_fc(small)),
                'b': prefixed('backbone.', without_fc(other))}, tmp_path / 'x.pth')
    with pytest.raises(LayoutError, match='several encoders that differ'):
        read_encoder(tmp_path / 'x.pth', select='backbone.')
    assert torch.equal(read_encoder(tmp_path / 'x.pth', select='b:backbone.').tensors['conv1.weight'],
                       other.conv1.weight)


def test_solo_learns_linear_models_pad_alike(tmp_path):
    model = ResNet(depth=18, width_multiplier=0.125, stem='cifar')
    torch.save({'pytorch-lightning_version': '2.0', 'state_dict': {
        **prefixed('backbone.', model.state_dict()), 'classifier.weight': torch.ones(10, 64)}},
        tmp_path / 'x.ckpt')
    assert read_encoder(tmp_path / 'x.ckpt').settings['stem_padding'] == 2


def test_a_tree_that_holds_itself_or_is_deep_is_no_endless_search(tmp_path):
    tree = {'state_dict': without_fc(small_resnet18())}
    tree['again'] = tree
    torch.save(tree, tmp_path / 'x.pth')
    assert read_encoder(tmp_path / 'x.pth').alternatives == ()
    deep = {'weight': torch.ones(2)}
    for _ in range(300):
        deep = {'a': deep}
    torch.save(deep, tmp_path / 'y.pth')
    with pytest.raises(LayoutError, match='holds no tensors at all'):
        read_encoder(tmp_path / 'y.pth')


@pytest.mark.parametrize('strange', [lambda t: t.to_sparse(), lambda t: t.to('meta')])
def test_tensors_without_numbers_of_their_own_are_missing(strange, tmp_path):
    tensors = ResNet(depth=18, width_multiplier=0.125).state_dict()
    tensors['layer1.0.conv2.weight'] = strange(tensors['layer1.0.conv2.weight'])
    torch.save(tensors, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'layer1\.0\.conv2\.weight|no ResNet'):
        build_encoder(tmp_path / 'x.pth')


IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
UNIT = ((0., 0., 0.), (255., 255., 255.))
CONFIG_TEXTS = {
    'ours': ("model = dict(data_preprocessor=dict(type='mmsimclr.models.ViewPreprocessor'))", UNIT),
    'ours, stated': ("model = dict(data_preprocessor=dict(type='ViewPreprocessor', mean=(1, 2, 3)))",
                     ((1., 2., 3.), UNIT[1])),
    'MMSelfSup 1.x': ("model = {'data_preprocessor': {'type': 'SelfSupDataPreprocessor', 'bgr_to_rgb': True, "
                      "'mean': (123.675, 116.28, 103.53), 'std': (58.395, 57.12, 57.375)}}", IMAGENET),
    'at the top': ('data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], '
                   'to_rgb=True)', IMAGENET),
    'MMSelfSup 0.x': ('img_norm_cfg = dict(mean=[0.5, 0.5, 0.5], std=[0.2, 0.2, 0.2])',
                      ((127.5,) * 3, (51.,) * 3)),
    'MMClassification 0.x': ('img_norm_cfg = dict(mean=[1., 2., 3.], std=[4., 5., 6.], to_rgb=True)',
                             ((1., 2., 3.), (4., 5., 6.))),
    'order of channels not stated': ('data_preprocessor = dict(mean=[1., 2., 3.], std=[4., 5., 6.])', None),
    'no config': ('', None),
    'not Python': ('model = dict(', None),
    'a call': ("data_preprocessor = dict(mean=__import__('os').getcwd(), std=[1, 1, 1], to_rgb=True)", None),
}


@pytest.mark.parametrize('name', CONFIG_TEXTS)
def test_the_scale_is_read_out_of_the_config_that_openmmlab_saves(name, small, tmp_path):
    text, scale = CONFIG_TEXTS[name]
    torch.save({'meta': {'mmengine_version': '0.10.1', 'cfg': text},
                'state_dict': prefixed('backbone.', without_fc(small))}, tmp_path / 'x.pth')
    found = read_encoder(tmp_path / 'x.pth').input
    assert found.stated == (scale is not None)
    assert [*found.mean, *found.std] == pytest.approx([*(scale or IMAGENET)[0], *(scale or IMAGENET)[1]])
    assert ('assumed' in str(found)) == (scale is None)
