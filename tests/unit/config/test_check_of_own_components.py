"""What a user's own components and other packages take is not refused because ours would not take it."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import ExponentialMovingAverage
from tiny_run import tiny_config
from torch import nn
from torch.utils.data import Dataset

from mmsimclr.config import ConfigError, check_config
from mmsimclr.config.check import check_trains
from mmsimclr.registry import DATA_SAMPLERS, DATASETS, HOOKS, MODELS


class Speed(enum.Enum):
    FAST = 'fast'


@dataclass
class Settings:
    number: int = 1


@HOOKS.register_module()
class AnnotatedHookForOwnTest(Hook):
    def __init__(self, speed: Speed, device: torch.device = 'cpu', settings: Settings | None = None,
                 number: int = [], size: tuple[int, int] = [1, 2], name: str = dict(a=1),
                 call: Callable | None = None) -> None:
        pass


@HOOKS.register_module()
class PlainHookForOwnTest(Hook):
    def __init__(self, pretrained=False, norm='bn', weight=1.0, layers=(1,), loss=None, heads=8, **others):
        pass


@MODELS.register_module()
class VisionTransformerForOwnTest(nn.Module):
    def __init__(self, heads=8, backbone='resnet', queries=100):
        pass


@DATASETS.register_module()
class PairsForOwnTest(Dataset):
    def __init__(self, root: str):
        pass


@DATASETS.register_module()
class PackedForOwnTest(Dataset):
    def __init__(self, root: str, pipeline=(dict(type='PackViews'),)):
        pass


@DATA_SAMPLERS.register_module()
class SamplerForOwnTest:
    def __init__(self, dataset, seed, shuffle=True):
        pass


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


ANNOTATED, PLAIN = 'AnnotatedHookForOwnTest', 'PlainHookForOwnTest'


@pytest.mark.parametrize('hook', [
    dict(type=ANNOTATED, speed='fast'), dict(type=ANNOTATED, speed='fast', device='cuda'),
    dict(type=ANNOTATED, speed='fast', settings=dict(number=2)), dict(type=ANNOTATED, speed='fast', number=3),
    dict(type=PLAIN, pretrained='weights.pth'), dict(type=PLAIN, norm=dict(kind='LN')),
    dict(type=PLAIN, weight=dict(a=1.0)), dict(type=PLAIN, layers='all'), dict(type=PLAIN, loss='l1'),
    dict(type=PLAIN, loss=dict(weight=2)), dict(type=PLAIN, heads=4), dict(type=PLAIN, heads=[1, 2]),
    dict(type=PLAIN, queries=100), dict(type=PLAIN, queries=dict(number=3)), dict(type=PLAIN, head='mlp'),
    dict(type=PLAIN, optimizer=dict(lr=0.1)), dict(type=PLAIN, mix=dict(type='cutmix', alpha=1.0)),
    dict(type=PLAIN, transforms=[dict(type='own', size=3)]),
], ids=str)
def test_names_that_ours_give_to_components_are_a_users_own_to_use(hook, config):
    config.custom_hooks = [hook]
    check_config(config)


@pytest.mark.parametrize('backbone', [dict(heads=4), dict(backbone='resnet50'), dict(queries=3)], ids=str)
def test_plain_values_of_an_own_backbone(backbone, config):
    config.model.backbone = dict(type='VisionTransformerForOwnTest', **backbone)
    check_config(config)


@pytest.mark.parametrize('hook, said', [
    (dict(type=ANNOTATED), 'lacks speed'), (dict(type=ANNOTATED, sped='fast'), "did you mean 'speed'"),
    (dict(type=ANNOTATED, speed='fast', size='oops'), 'size must be'),
    (dict(type=ANNOTATED, speed='fast', call='relu'), 'call must be a function'),
    (dict(type=PLAIN, mix=dict(type='SimCLRView', strenght=1)), "did you mean 'strength'"),
], ids=str)
def test_what_surely_is_wrong_is_refused_in_them_too(hook, said, config):
    config.custom_hooks = [hook]
    with pytest.raises(ConfigError, match=said):
        check_config(config)


def test_ours_inside_ours_must_still_be_components(config):
    config.model.head.loss = 'ce'
    with pytest.raises(ConfigError, match=r'head\.loss must be a dict'):
        check_config(config)


@pytest.mark.parametrize('name', ['PairsForOwnTest', 'PackedForOwnTest'])
def test_a_dataset_that_takes_no_pipeline_or_has_its_own_needs_none(name, config):
    config.train_dataloader.dataset = dict(type=name, root='x')
    check_config(config)
    check_trains(config)
    config.train_dataloader.dataset = dict(type='Shapes', num_images=4)
    with pytest.raises(ConfigError, match='dataset lacks pipeline'):
        check_trains(config)


def test_a_sampler_of_no_base_is_given_its_dataset_and_seed(config):
    config.train_dataloader.sampler = dict(type='SamplerForOwnTest')
    check_config(config)


def test_what_other_packages_take_under_names_and_kinds_of_their_own(config):
    config.custom_hooks = [
        dict(type='EMAHook', ema_type=ExponentialMovingAverage, momentum=0.1),
        dict(type='ProfilerHook', on_trace_ready=dict(type='log_trace'))]
    config.default_hooks.checkpoint.greater_keys = 'acc'
    config.param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=0.5, convert_to_iter_based=True)]
    config.visualizer = dict(type='Visualizer', vis_backends=[
        dict(type='WandbVisBackend', define_metric_cfg=dict(loss='min'))])
    config.model.init_cfg = dict(type='Kaiming', layer='Conv2d', override=dict(type='Normal', name='fc'))
    config.env_cfg = dict(dist_cfg=dict(backend='nccl', port=29501, init_method='env://'))
    config.default_scope = None
    check_config(config)


def test_what_mmpretrain_takes(config):
    pytest.importorskip('mmpretrain', reason='mmpretrain is optional')
    config.model.backbone = dict(type='mmpretrain.SwinTransformer', img_size=32,
                                 arch=dict(embed_dims=96, depths=[2, 2], num_heads=[3, 6]))
    check_config(config)
    config.train_dataloader.dataset.pipeline.insert(0, dict(type='mmpretrain.Albumentations', transforms=[
        dict(type='Blur', blur_limit=3), dict(type='Resize', height=3, width=3)]))
    check_config(config)
    config.model = dict(
        type='mmpretrain.ImageClassifier', backbone=dict(type='mmpretrain.ResNet', depth=18),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=512),
        train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]))
    check_config(config)
    config.model.backbone.type = 'mmpretrain.ResNett'
    with pytest.raises(ConfigError, match=r"did you mean 'mmpretrain\.ResNet'"):
        check_config(config)


def test_what_mmdet_takes_by_name(config):
    pytest.importorskip('mmdet', reason='mmdet is optional')
    head = dict(type='mmdet.RPNHead', in_channels=3,
                anchor_generator=dict(type='mmdet.AnchorGenerator', scales=[8], ratios=[1.0], strides=[4]))
    rpn = dict(nms_pre=3, max_per_img=3, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
    config.model = dict(type='mmdet.RPN', backbone=dict(type='ResNet', depth=18), neck=None, rpn_head=head,
                        test_cfg=dict(rpn=rpn))
    check_config(config)
    head['anchor_generator']['type'] = 'mmdet.AnchorGeneratr'
    config.model.rpn_head = head
    with pytest.raises(ConfigError, match=r"unknown type 'mmdet\.AnchorGeneratr'"):
        check_config(config)
