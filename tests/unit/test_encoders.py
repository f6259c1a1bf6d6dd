"""Encoders of any kind: what they return, how a record names them, and what is never built from one."""

import json

import pytest
import timm
import torch
from mmpretrain.models import MobileNetV3
from torch import nn

from mmsimclr.checkpoints import DamagedCheckpointError, EncoderWeights, InputScale, UnsupportedEncoderError
from mmsimclr.checkpoints.record import describe_model, pack_record, unpack_record
from mmsimclr.encoders import (
    build_backbone,
    feature_dim,
    features_by_stage,
    pooled,
    registered,
    registered_name,
    require_stages,
)
from mmsimclr.errors import InputError, MachineError
from mmsimclr.models import NonLinearNeck, ResNet, SimCLR, StageMaps, TimmEncoder
from mmsimclr.registry import MODELS

VIT = dict(type='TimmEncoder', name='vit_tiny_patch16_224', img_size=32, patch_size=8, depth=2)
ATTO = dict(type='TimmEncoder', name='convnext_atto', depths=(1, 1, 1, 1))


class Tokens(nn.Module):
    """Rows of an image as tokens."""

    num_prefix_tokens = 1

    def __init__(self, tokens: str = 'class'):
        super().__init__()
        self.tokens = tokens

    def forward(self, images):
        return (images[:, 0],)                                                   # [N, H, W] as [N, T, C]


def test_pooling_of_maps_vectors_tokens_and_tuples():
    maps = torch.arange(24.).view(1, 2, 3, 4)
    assert pooled(maps).tolist() == [[5.5, 17.5]]
    assert pooled((torch.zeros(1, 7), [maps]))[0].tolist() == [5.5, 17.5]
    tokens = torch.tensor([[[1., 2.], [3., 5.], [7., 8.]]])
    assert pooled(tokens).tolist() == [[1., 2.]]
    assert pooled(tokens, 'mean', 1).tolist() == [[5., 6.5]]
    assert pooled(tokens + 1, 'mean')[0, 1] == 6 and torch.equal(pooled(tokens[0]), tokens[0])
    with pytest.raises(TypeError, match=r'tokens \[N, T, C\].*got dict'):
        pooled({'x': maps})
    with pytest.raises(InputError, match="class, mean, got 'last'"):
        pooled(tokens, 'last')


@pytest.mark.parametrize(('how', 'row'), [('class', 0), ('mean', slice(1, None))])
def test_simclr_projects_and_predicts_tokens_by_the_encoder_s_option(how, row):
    model = SimCLR(Tokens(how), dict(type='NonLinearNeck', in_channels=5, out_channels=4)).eval()
    images = torch.rand(3, 3, 4, 5)
    wanted = images[:, 0, row] if how == 'class' else images[:, 0, row].mean(1)
    found = torch.stack([sample.feature for sample in model.predict(images)])
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(model.project(images), model.neck((wanted,))[0])


@pytest.mark.parametrize(('encoder', 'length'), [
    (dict(type='ResNet', depth=50, base_channels=4), 128), (VIT, 192), (ATTO, 320),
    (dict(type='mmpretrain.VisionTransformer', arch='deit-t', img_size=32, patch_size=16, out_type='raw'),
     192),
    (dict(type='mmpretrain.MobileNetV3', arch='small_050'), 288)])
def test_the_channels_of_the_neck_are_found_by_one_image(encoder, length):
    model = SimCLR(encoder, dict(type='NonLinearNeck'))
    assert model.neck.fc0.weight.shape == (length, length) and model.neck.fc1.out_features == 128
    assert model.training and model.backbone.training


def test_an_encoder_that_takes_no_usual_image_must_be_told():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    with pytest.raises(InputError, match=r'3 x 96 x 96.*neck\.in_channels.*img_size'):
        feature_dim(model)
    model.img_size = 8
    assert feature_dim(model) == 4
    with pytest.raises(InputError, match='in_channels must be'):
        NonLinearNeck()


def test_maps_are_named_by_their_sides():
    small = MobileNetV3('small', out_indices=(0, 1, 3, 8, 12))
    small.eval()
    with torch.no_grad():
        found = features_by_stage(small, torch.rand(1, 3, 64, 64))
    assert {name: maps.shape[-1] for name, maps in found.items()} == dict(
        stem=32, layer1=16, layer2=8, layer3=4, layer4=2, pooled=2)
    for side in (32, 48, 75, 97):
        with torch.no_grad():
            by_side = features_by_stage(small, torch.rand(1, 3, side, side))
        assert {name: maps.shape[1] for name, maps in by_side.items()} == {
            name: maps.shape[1] for name, maps in found.items()}
    gap = MobileNetV3('small', out_indices=(1, 12))
    gap.eval()
    assert list(features_by_stage(gap, torch.rand(1, 3, 64, 64))) == ['layer1', 'layer4', 'pooled']
    ours = ResNet(18, base_channels=4, stem='cifar', out_indices=('stem', 0, 3))
    assert list(features_by_stage(ours, torch.rand(2, 3, 32, 32))) == ['stem', 'layer1', 'layer4', 'pooled']


def test_stages_of_timm_s_models_are_those_of_features_only():
    torch.manual_seed(0)
    encoder = build_backbone(ATTO, ['layer1'])
    encoder.eval()
    theirs = timm.create_model('convnext_atto', features_only=True, depths=(1, 1, 1, 1)).eval()
    theirs.load_state_dict({name.replace('stem.', 'stem_').replace('stages.', 'stages_'): value
                            for name, value in encoder.model.state_dict().items() if 'head' not in name})
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        found, wanted = features_by_stage(encoder, images), theirs(images)
        alone = build_backbone(ATTO)
        alone.load_state_dict(encoder.state_dict())
        alone.eval()
        torch.testing.assert_close(found['pooled'], alone(images))
    for stage, maps in zip(('layer1', 'layer2', 'layer3', 'layer4'), wanted, strict=True):
        torch.testing.assert_close(found[stage], maps)
    with pytest.raises(InputError, match=r"convnext_atto does not return the map of 'stem'.*layer1, layer2"):
        require_stages(encoder, found, ['layer1', 'stem'])


def test_a_transformer_has_no_stages_and_says_so():
    encoder = build_backbone(VIT, ['layer1'])
    found = features_by_stage(encoder, torch.rand(1, 3, 32, 32))
    assert list(found) == ['pooled']
    with pytest.raises(InputError, match="vit_tiny_patch16_224 does not return the map of 'layer4'"):
        require_stages(encoder, found, ['layer4'])
    with pytest.raises(InputError, match="does not return the map of 'layer1'"):
        StageMaps({**VIT, 'img_size': 128})


def test_an_encoder_of_one_size_is_refused_for_detectors_by_its_class(monkeypatch):
    class FourMaps(nn.Module):
        img_size = 64

        def forward(self, images):
            return tuple(images[..., ::step, ::step] for step in (4, 8, 16, 32))

    monkeypatch.setitem(MODELS.module_dict, 'FourMaps', FourMaps)
    with pytest.raises(InputError, match='FourMaps takes images of 64 pixels only'):
        StageMaps(dict(type='FourMaps'))


def test_the_maps_for_detectors_have_their_channels_and_strides():
    maps = StageMaps(ATTO, out_indices=(1, 3))
    assert maps.channels == (40, 80, 160, 320) and maps.strides == (4, 8, 16, 32)
    assert [list(each.shape) for each in maps(torch.rand(1, 3, 64, 96))] == [[1, 80, 8, 12], [1, 320, 2, 3]]


@pytest.mark.parametrize(('tokens', 'wanted'), [('class', lambda rows: rows[:, 0]),
                                                ('mean', lambda rows: rows[:, 1:].mean(1))])
def test_tokens_of_timm_s_transformers(tokens, wanted):
    encoder = build_backbone({**VIT, 'tokens': tokens})
    encoder.eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        # timm norms behind the mean, and in front of the class token.
        rows = encoder.model.forward_features(images)
        torch.testing.assert_close(encoder(images), encoder.model.fc_norm(wanted(rows)))
    assert encoder.settings['tokens'] == tokens and encoder.img_size == 32


def test_a_frozen_patch_embedding_has_no_gradient_and_is_not_recorded():
    encoder = build_backbone({**VIT, 'frozen_patch_embedding': True})
    encoder(torch.rand(2, 3, 32, 32)).sum().backward()
    without = {name for name, weight in encoder.named_parameters() if weight.grad is None}
    assert without == {'model.patch_embed.proj.weight', 'model.patch_embed.proj.bias'}
    assert 'frozen_patch_embedding' not in encoder.settings
    with pytest.raises(InputError, match='convnext_atto has no patch embedding'):
        TimmEncoder('convnext_atto', frozen_patch_embedding=True)


def test_mistakes_in_a_timm_encoder():
    with pytest.raises(InputError, match="'convnext_atom'; did you mean 'convnext_atto"):
        TimmEncoder('convnext_atom')
    with pytest.raises(InputError, match=r"tokens must be one of 'class', 'mean', None, got 'first'"):
        TimmEncoder('convnext_atto', tokens='first')
    with pytest.raises(InputError, match='with flavour'):
        TimmEncoder('convnext_atto', flavour=1)


def test_weights_that_cannot_be_fetched_are_a_plain_error(monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError('no route to host\nmore')
    monkeypatch.setattr(timm, 'create_model', unreachable)
    with pytest.raises(MachineError, match=r'weights of resnet18 cannot be fetched: no route to host\. With'):
        TimmEncoder('resnet18', pretrained=True)


def weights(settings) -> EncoderWeights:
    return EncoderWeights({}, settings, InputScale(stated=True))


@pytest.mark.parametrize('config', [
    VIT, ATTO, dict(type='mmpretrain.MobileNetV3', arch='small_050', norm_cfg=dict(type='BN', eps=1e-3),
              frozen_stages=1, init_cfg=[])])
def test_a_record_rebuilds_what_a_config_built(config):
    built = build_backbone(config)
    settings, _ = unpack_record(json.dumps(pack_record(weights(built.settings))))
    assert settings == built.settings                       # or the file would be said to be another encoder
    assert {'frozen_stages', 'init_cfg'}.isdisjoint(settings)
    again = build_backbone(settings)
    again.load_state_dict(built.state_dict())
    images = torch.rand(2, 3, 32, 32)
    built.eval(), again.eval()
    assert torch.equal(pooled(built(images)), pooled(again(images)))


def test_version_1_means_our_resnet():
    record = dict(version=1, encoder=dict(depth=18, norm_eps=1e-5), input=dict(mean=[0] * 3, std=[1] * 3))
    assert unpack_record(record)[0] == dict(depth=18, norm_eps=1e-5)
    assert pack_record(weights(dict(depth=18)))['encoder'] == dict(type='mmsimclr.ResNet', depth=18)


@pytest.mark.parametrize(('encoder', 'error', 'message'), [
    (dict(type='os.system', command='touch x'), UnsupportedEncoderError, "'os.system', which is not reg"),
    (dict(type='builtins.eval', source='1'), UnsupportedEncoderError, 'not registered'),
    (dict(type='TimmEncoder.model'), UnsupportedEncoderError, 'not registered'),
    (dict(type='mmengine.Nothing'), UnsupportedEncoderError, "custom_imports=dict\\(imports=\\['there'\\]"),
    (dict(type='mmpretrain.MobileNetV3', norm_cfg=dict(type='subprocess.run', args='x')),
     UnsupportedEncoderError, "'subprocess.run'"),
    (dict(type='mmpretrain.MobileNetV3', norm_cfg=dict(type=3)), UnsupportedEncoderError, '3, which'),
    (dict(type='mmpretrain.HuggingFaceClassifier', model_name='x/y'), UnsupportedEncoderError, 'HuggingF'),
    (dict(type='mmsimclr.TimmEncoder', name='resnet18', pretrained=True), DamagedCheckpointError, 'encoder'),
    (dict(type='mmsimclr.TimmEncoder', name='x', checkpoint_path='/x'), DamagedCheckpointError, 'encoder'),
    (dict(type='mmpretrain.MobileNetV3', arch=dict(init_cfg=dict(type='Pretrained', checkpoint='http://x'))),
     DamagedCheckpointError, 'encoder'),
    (dict(type='mmpretrain.MobileNetV3', arch=10**9), DamagedCheckpointError, 'up to 1000000'),
    (dict(type='mmpretrain.MobileNetV3', arch=torch.ones(1)), DamagedCheckpointError, 'numbers, texts'),
    (dict(type=['x']), DamagedCheckpointError, r"must be the name of a registered class, got \['x'\]")])
def test_nothing_but_registered_modules_with_plain_arguments_is_built(encoder, error, message, monkeypatch):
    monkeypatch.setattr('os.system', lambda command: pytest.fail('it was run'))
    record = dict(version=2, encoder=encoder, module='there', input=dict(mean=[0] * 3, std=[1] * 3))
    with pytest.raises(error, match=message):
        unpack_record(record)


def test_names_of_classes_and_back():
    assert registered_name(TimmEncoder) == 'mmsimclr.TimmEncoder'
    assert registered_name(MobileNetV3) == 'mmpretrain.MobileNetV3'
    assert registered_name(Tokens) is None
    assert registered('mmpretrain.MobileNetV3') is MobileNetV3 and registered('torch.nn.Linear') is None


def test_an_encoder_that_no_record_can_describe_is_warned_of(capfd):
    built = build_backbone(dict(type=Tokens))
    assert not hasattr(built, 'settings')
    assert 'register_module' in ''.join(capfd.readouterr())
    build_backbone(ATTO)
    assert 'register_module' not in ''.join(capfd.readouterr())
    of_a_file = build_backbone({**ATTO, 'pretrained_cfg': None})
    assert 'pretrained_cfg' in ''.join(capfd.readouterr())
    assert describe_model(SimCLR(of_a_file, dict(type='NonLinearNeck'))) is None
