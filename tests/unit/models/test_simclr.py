import copy

import mmpretrain.models
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from torch import nn
from torch.testing import assert_close

from mmsimclr.errors import InputError
from mmsimclr.models import ContrastiveHead, NonLinearNeck, ResNet, SimCLR, ViewPreprocessor
from mmsimclr.models.losses import contrastive_metrics, nt_xent_loss
from mmsimclr.registry import MODELS


def config(**changes) -> dict:
    return {**dict(
        type=SimCLR,
        backbone=dict(type=ResNet, depth=18, base_channels=4, stem='cifar', zero_init_residual=False),
        neck=dict(type=NonLinearNeck, in_channels=32, hid_channels=16, out_channels=8),
        head=dict(type=ContrastiveHead, temperature=0.4)), **changes}


def build(**changes) -> SimCLR:
    torch.manual_seed(0)
    return MODELS.build(config(**changes))


def views(count: int = 2, n: int = 4, side: int = 16) -> list[torch.Tensor]:
    """Return views with very different statistics, float [n, 3, side, side]."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(n, 3, side, side, generator=generator) * (1 + 2 * i) + i for i in range(count)]


def count_calls(module: nn.Module) -> list[int]:
    sizes = []
    module.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    return sizes


def test_both_views_go_through_the_encoder_in_one_forward_pass():
    model = build()
    encoder, neck_norm = count_calls(model.backbone), count_calls(model.neck.bn0)
    model(views(), mode='loss')
    assert encoder == [8] and neck_norm == [8]


def test_batch_norm_takes_its_statistics_over_both_views():
    model = build()
    first, second = views()
    model([first, second], mode='loss')
    activations = model.backbone.conv1(torch.cat([first, second])).detach()
    assert_close(model.backbone.bn1.running_mean, 0.1 * activations.mean(dim=(0, 2, 3)))
    variance = activations.transpose(0, 1).flatten(1).var(dim=1)
    assert_close(model.backbone.bn1.running_var, 0.9 + 0.1 * variance)


@pytest.mark.parametrize('num_views', [2, 3])
def test_loss_is_that_of_the_parts_put_together_by_hand(num_views):
    model = build()
    by_hand = copy.deepcopy(model)
    inputs = views(num_views)
    output = model(inputs, mode='loss')

    z = by_hand.neck(by_hand.backbone(torch.cat(inputs)))[0].split(4)
    pairs = [(0, 1), (0, 2), (1, 2)][:1 if num_views == 2 else 3]
    want = sum(nt_xent_loss(z[i], z[j], 0.4) for i, j in pairs) / len(pairs)
    assert_close(output['loss'], want)
    assert_close(output['contrastive_accuracy'], contrastive_metrics(z[0], z[1], 0.4)['accuracy'])
    output['loss'].backward()
    want.backward()
    for (name, got), expected in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        assert_close(got.grad, expected.grad, msg=name)


def test_tensor_mode_returns_the_encoders_maps_of_one_view():
    model = build(backbone=dict(type=ResNet, depth=18, base_channels=4, stem='cifar',
                                out_indices=(0, 3))).eval()
    first, second = views()
    maps = model([first, second])
    assert [tuple(m.shape) for m in maps] == [(4, 4, 16, 16), (4, 32, 2, 2)]
    assert_close(maps, model.backbone(first))
    assert_close(model(first, mode='tensor'), maps)


def test_loss_projects_the_last_of_several_maps():
    several = build(backbone=dict(type=ResNet, depth=18, base_channels=4, stem='cifar',
                                  zero_init_residual=False, out_indices=(0, 3)))
    assert_close(several(views(), mode='loss'), build()(views(), mode='loss'))


def test_predict_mode_returns_pooled_feature_and_projection_of_each_image():
    model = build().eval()
    first = views()[0]
    elements = model(first, mode='predict')
    assert len(elements) == 4 and all(isinstance(e, BaseDataElement) for e in elements)
    last = model.backbone(first)[-1]
    assert_close(torch.stack([e.feature for e in elements]), last.mean(dim=(2, 3)))
    assert_close(torch.stack([e.projection for e in elements]), model.neck((last,))[0])


def test_test_step_preprocesses_and_predicts():
    model = build(data_preprocessor=dict(type=ViewPreprocessor)).eval()
    images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    got = model.test_step(dict(inputs=images, data_samples=dict(gt_label=torch.zeros(4))))
    want = model(images / 255.0, mode='predict')
    assert_close(got[2].feature, want[2].feature)


def test_train_step_updates_every_parameter_and_logs_the_three_values():
    model = build()
    before = copy.deepcopy(dict(model.named_parameters()))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))
    images = [torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8) for _ in range(2)]
    log = model.train_step(dict(inputs=images), wrapper)
    assert set(log) == {'loss', 'contrastive_accuracy', 'contrastive_entropy'}
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize('as_string', [True, False])
def test_mmpretrains_resnet_is_a_backbone_by_string_and_by_class(as_string):
    kind = 'mmpretrain.ResNet' if as_string else mmpretrain.models.ResNet
    model = build(backbone=dict(type=kind, depth=18, base_channels=4, stem_channels=4),
                  neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8))
    assert isinstance(model.backbone, mmpretrain.models.ResNet)
    output = model(views(side=32), mode='loss')
    output['loss'].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(views(side=32)[0], mode='predict')[0].feature.shape == (32,)


def test_text_config_without_preprocessor_gets_ours():
    model = MODELS.build(dict(
        type='SimCLR', backbone=dict(type='ResNet', depth=18, base_channels=4, stem='cifar'),
        neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8),
        head=dict(type='ContrastiveHead', loss=dict(type='NTXentLoss'))))
    assert type(model) is SimCLR and type(model.data_preprocessor) is ViewPreprocessor


@pytest.mark.parametrize('inputs', [views()[0], views()[:1]], ids=['a tensor', 'one view'])
def test_loss_of_fewer_than_two_views_is_refused(inputs):
    with pytest.raises(ValueError, match='list of at least 2 views'):
        build()(inputs, mode='loss')


@pytest.mark.parametrize('chunk_size', [None, 2])
def test_views_of_different_sizes_are_refused_and_both_sizes_named(chunk_size):
    small, = views(1, side=8)
    with pytest.raises(InputError, match=r'\[4, 3, 8, 8\] and \[4, 3, 16, 16\]'):
        build(chunk_size=chunk_size)([*views(1), small], mode='loss')


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="one of 'tensor', 'loss', 'predict', got 'train'"):
        build()(views(), mode='train')
