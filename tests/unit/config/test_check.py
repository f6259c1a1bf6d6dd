"""Unknown keys, unknown types and missing keys are refused, with their place and the nearest known name."""

import re

import pytest
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor
from tiny_run import tiny_config
from torch import nn
from torch.utils.data import Dataset

from mmsimclr.config import ConfigError, check_config
from mmsimclr.config.check import check_trains
from mmsimclr.engine import LARS, LARSOptimWrapperConstructor
from mmsimclr.models import ResNet
from mmsimclr.registry import DATA_SAMPLERS, DATASETS, HOOKS


class UnregisteredHookForCheckTest(Hook):
    def __init__(self, threshold: float):
        self.threshold = threshold


class OwnConstructorForCheckTest(DefaultOptimWrapperConstructor):
    pass


@HOOKS.register_module()
class OwnHookForCheckTest(Hook):
    def __init__(self, speed, loss=None, heads=8, **others):
        pass


@DATASETS.register_module()
class PairsForCheckTest(Dataset):
    def __init__(self, root: str):
        pass


@DATASETS.register_module()
class PackedForCheckTest(Dataset):
    def __init__(self, root: str, pipeline=(dict(type='PackViews'),)):
        pass


@DATA_SAMPLERS.register_module()
class SamplerForCheckTest:
    def __init__(self, dataset, seed, shuffle=True):
        pass


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


def refused(config, said: str) -> bool:
    with pytest.raises(ConfigError) as error:
        check_config(config)
    return said in str(error.value)


UNKNOWN_KEYS = [
    ('modle', dict(type='SimCLR'), 'model'),
    ('custom_hook', [dict(type='FiniteLossHook')], 'custom_hooks'),
    ('resum', True, 'resume'),
    ('model.bacbone', dict(type='ResNet'), 'backbone'),
    ('model.backbone.dept', 50, 'depth'),
    ('model.head.temprature', 0.1, 'temperature'),
    ('train_dataloader.batchsize', 4, 'batch_size'),
    ('train_dataloader.sampler.shufle', True, 'shuffle'),
    ('train_dataloader.dataset.num_image', 4, 'num_images'),
    ('train_dataloader.dataset.pipeline.0.num_view', 2, 'num_views'),
    ('train_dataloader.dataset.pipeline.0.transforms.0.strenght', 1.0, 'strength'),
    ('train_dataloader.dataset.pipeline.0.shared', [dict(type='RandomResizedCrop', siz=8)], 'size'),
    ('train_cfg.max_epoch', 3, 'max_epochs'),
    ('optim_wrapper.optimiser', dict(type='LARS'), 'optimizer'),
    ('optim_wrapper.optimizer.weight_decai', 0.1, 'weight_decay'),
    ('optim_wrapper.paramwise_cfg', dict(custm_keys={}), 'custom_keys'),
    ('optim_wrapper.paramwise_cfg', dict(custom_keys=dict(bn=dict(lars_exclud=True))), 'lars_exclude'),
    ('param_scheduler.0.warm_up', 2, 'warmup'),
    ('default_hooks.checkpoint.intervall', 2, 'interval'),
    ('default_hooks.chekpoint', dict(interval=1), 'checkpoint'),
    ('custom_hooks.1.intervals', 2, 'interval'),
    ('log_processor.windowsize', 2, 'window_size'),
    ('randomness.sed', 2, 'seed'),
    ('env_cfg.cudnn_bench', True, 'cudnn_benchmark'),
    ('env_cfg.dist_cfg.timout', 5, 'timeout'),
    ('auto_scale_lr.base_batch', 256, 'base_batch_size'),
    ('visualizer.vis_backends.0.init_kwarg', {}, 'init_kwargs'),
]


@pytest.mark.parametrize('place, value, nearest', UNKNOWN_KEYS)
def test_an_unknown_key_is_refused_with_its_place_and_the_nearest_known_one(config, place, value, nearest):
    config.env_cfg = dict(cudnn_benchmark=False, dist_cfg=dict(timeout=3))
    config.auto_scale_lr = dict(enable=False, base_batch_size=8)
    config.visualizer = dict(type='Visualizer', vis_backends=[dict(type='WandbVisBackend')])
    check_config(config)
    config.merge_from_dict({place: value})
    with pytest.raises(ConfigError, match=f'did you mean {nearest!r}') as error:
        check_config(config)
    *path, key = place.split('.')
    assert all(part in str(error.value) for part in path if not part.isdigit())
    assert key in str(error.value)


@pytest.mark.parametrize('place, value, said', [
    ('model.neck.num_layers', [1], 'an integer'), ('model.neck.out_channels', 'x', 'an integer'),
    ('model.backbone.base_channels', '', 'an integer'), ('model.backbone.base_channels', None, 'an integer'),
    ('train_dataloader.dataset.num_images', [8], 'an integer'),
    ('model.neck', 'x', 'a dict or a module'), ('model.backbone', None, 'a dict or a module'),
    ('optim_wrapper.optimizer.weight_decay', True, 'a number'),
    ('train_dataloader.dataset.pipeline.0.transforms.0.strength', 'strong', 'a number')])
def test_a_value_of_another_type_is_refused_with_its_place(config, place, value, said):
    check_config(config)
    config.merge_from_dict({place: value})
    shown = re.escape(re.sub(r'[.]([0-9]+)', r'[\1]', place))
    with pytest.raises(ConfigError, match=f'{shown} must be {said}'):
        check_config(config)


@pytest.mark.parametrize('place, name, nearest', [
    ('model.type', 'SimClr', 'SimCLR'),
    ('model.backbone.type', 'Resnet', 'ResNet'),
    ('model.backbone.type', 'mmpretrain.ResNett', 'mmpretrain.ResNet'),
    ('optim_wrapper.optimizer.type', 'LAR', 'LARS'),
    ('optim_wrapper.type', 'OptimWraper', 'OptimWrapper'),
    ('default_hooks.checkpoint.type', 'ChekpointHook', 'CheckpointHook'),
    ('train_dataloader.dataset.pipeline.1.type', 'PackView', 'PackViews'),
    ('train_dataloader.dataset.pipeline.0.transforms.0.type', 'SimCLRVeiw', 'SimCLRView'),
    ('param_scheduler.0.type', 'WarmupCosinLR', 'WarmupCosineLR')])
def test_an_unknown_type_gets_the_nearest_name(config, place, name, nearest):
    config.merge_from_dict({place: name})
    assert refused(config, f'did you mean {nearest!r}')


@pytest.mark.parametrize('place, said', [
    ('randomness.seed', 'randomness lacks seed'),
    ('train_dataloader.batch_size', 'train_dataloader lacks batch_size'),
    ('model.backbone.type', 'model.backbone lacks type'), ('param_scheduler.0.type', 'lacks type'),
    ('optim_wrapper.optimizer', 'optim_wrapper lacks optimizer')])
def test_a_missing_key_is_named_with_its_place(config, place, said):
    *path, key = place.split('.')
    node = config
    for part in path:
        node = node[int(part)] if part.isdigit() else node[part]
    node.pop(key)
    assert refused(config, said)


@pytest.mark.parametrize('place, value, accepted', [
    ('bad_images', 0.01, 'max_fraction'), ('randomness', 3, 'seed'),
    ('auto_scale_lr', True, 'base_batch_size'), ('train_dataloader', [2], 'batch_size'),
    ('default_hooks.checkpoint', 5, 'dict'), ('default_hooks', [1], 'dict'), ('model', 'SimCLR', 'dict'),
    ('optim_wrapper', 'LARS', 'dict'), ('optim_wrapper.clip_grad', 1.0, 'max_norm'),
    ('env_cfg.dist_cfg', 'gloo', 'backend'), ('log_processor.custom_cfg', 3, 'a list of dicts'),
    ('log_processor.custom_cfg', ['loss'], 'data_src')])
def test_a_plain_value_in_the_place_of_a_dict_is_refused(place, value, accepted, config):
    config.env_cfg, config.log_processor = dict(dist_cfg=None), dict(custom_cfg=[])
    check_config(config)
    *path, key = place.split('.')
    node = config
    for part in path:
        node = node[part]
    node[key] = value
    assert refused(config, place) and refused(config, accepted) and refused(config, repr(value).strip('[]'))


@pytest.mark.parametrize('place, right, wrong', [
    ('train_dataloader.batch_size', 1, 0), ('train_dataloader.batch_size', 4, 4.0),
    ('train_dataloader.num_workers', 0, -1), ('randomness.seed', 2**32 - 1, 2**32),
    ('randomness.seed', 0, -1), ('randomness.seed', None, '3')])
def test_numbers_that_torch_and_numpy_cannot_use_are_refused_with_their_place(place, right, wrong, config):
    section, key = place.split('.')
    config[section][key] = right
    check_config(config)
    config[section][key] = wrong
    assert refused(config, place) and refused(config, repr(wrong))


@pytest.mark.parametrize('place, value', [
    ('model.backbone', dict(type=ResNet, depth=18, _delete_=True)),
    ('model.backbone', dict(type='mmpretrain.ResNet', depth=18, norm_eval=True, _delete_=True)),
    ('model.neck.norm_cfg', dict(type='BN1d', momentum=0.1, requires_grad=True)),
    ('model.init_cfg', dict(type='Kaiming', layer='Conv2d', override=dict(type='Normal', name='fc'))),
    ('custom_hooks', [dict(type=UnregisteredHookForCheckTest, threshold=1.0, priority='LOW')]),
    ('custom_hooks', [dict(type='ProfilerHook', on_trace_ready=dict(type='log_trace'))]),
    ('optim_wrapper.clip_grad', dict(type='value', clip_value=1.0)),
    ('optim_wrapper', dict(optimizer=dict(type=LARS, lr=0.1), constructor=LARSOptimWrapperConstructor,
                           paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(
                               bn=dict(decay_mult=0, lars_exclude=True))))),
    ('optim_wrapper', dict(constructor=OwnConstructorForCheckTest, paramwise_cfg=dict(layer_decay=0.9))),
    ('param_scheduler', [dict(type='LinearLR', start_factor=0.1, end=0.5, convert_to_iter_based=True)]),
    ('train_dataloader.collate_fn', dict(type='default_collate')),
    ('train_dataloader.num_batch_per_epoch', 1),
    ('train_dataloader.sampler', dict(type='SamplerForCheckTest', _delete_=True)),
    ('visualizer', dict(type='Visualizer', vis_backends=[
        dict(type='WandbVisBackend', init_kwargs=dict(project='simclr'))])),
    ('data_preprocessor', dict(mean=[0., 0., 0.])), ('default_scope', None), ('load_from', 'epoch_1.pth')])
def test_what_mmengine_accepts_is_accepted(config, place, value):
    config.merge_from_dict({place: value})
    check_config(config)


@pytest.mark.parametrize('hook, said', [
    (dict(type=UnregisteredHookForCheckTest, treshold=1.0), "did you mean 'threshold'"),
    (dict(type='OwnHookForCheckTest'), 'lacks speed'),
    (dict(type='OwnHookForCheckTest', speed=1, mix=dict(type='SimCLRView', strenght=1)), "'strength'"),
    (dict(type='OwnHookForCheckTest', speed=1, mix=dict(type='mmpretrain.ResNett')), "'mmpretrain.ResNet'")])
def test_components_of_ones_own_are_checked_too(hook, said, config):
    config.custom_hooks = [hook]
    assert refused(config, said)


@pytest.mark.parametrize('given', [
    dict(loss='l1'), dict(loss=dict(weight=2)), dict(heads=[1, 2]), dict(optimizer=dict(lr=0.1)),
    dict(mix=dict(type='cutmix', alpha=1.0)), dict(transforms=[dict(type='own', size=3)])], ids=str)
def test_names_that_ours_give_to_components_are_a_users_own_to_use(given, config):
    config.custom_hooks = [dict(type='OwnHookForCheckTest', speed=1, **given)]
    check_config(config)


def test_variables_that_were_used_plain_values_and_private_names_are_accepted(config):
    config.global_batch = 256
    config.strengths = [0.5, 1.0]
    config.online_neck = dict(config.model.neck)
    config._scratch = dict(anything=1)
    check_config(config)
    config.online_neck.num_layers = 7
    assert refused(config, "unknown key 'online_neck' at the top level")


@pytest.mark.parametrize('name', ['PairsForCheckTest', 'PackedForCheckTest'])
def test_only_a_dataset_that_takes_a_pipeline_and_has_none_needs_one(name, config):
    config.train_dataloader.dataset = dict(type=name, root='x')
    check_config(config)
    check_trains(config)
    config.train_dataloader.dataset = dict(type='Shapes', num_images=4)
    with pytest.raises(ConfigError, match='dataset lacks pipeline'):
        check_trains(config)


def test_what_mmpretrain_takes(config):
    pytest.importorskip('mmpretrain', reason='mmpretrain is optional')
    config.train_dataloader.dataset.pipeline.insert(0, dict(type='mmpretrain.Albumentations', transforms=[
        dict(type='Blur', blur_limit=3), dict(type='Resize', height=3, width=3)]))
    config.model = dict(
        type='mmpretrain.ImageClassifier', head=dict(type='mmpretrain.LinearClsHead', num_classes=3),
        backbone=dict(type='mmpretrain.SwinTransformer', img_size=32, arch=dict(embed_dims=96)),
        train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]))
    check_config(config)
    config.model.backbone.type = 'mmpretrain.SwinTransforme'
    assert refused(config, "did you mean 'mmpretrain.SwinTransformer'")


@pytest.mark.slow
def test_what_mmdet_takes(config):
    pytest.importorskip('mmdet', reason='mmdet is optional')
    config.model = dict(
        type='mmdet.RPN', backbone=dict(type='ResNet', depth=18), neck=None,
        rpn_head=dict(type='mmdet.RPNHead', in_channels=3, anchor_generator=dict(
            type='mmdet.AnchorGenerator', scales=[8], ratios=[1.0], strides=[4])),
        test_cfg=dict(rpn=dict(nms_pre=3, max_per_img=3, nms=dict(type='nms', iou_threshold=0.7))))
    check_config(config)
    config.model.rpn_head.anchor_generator.type = 'mmdet.AnchorGeneratr'
    assert refused(config, "did you mean 'mmdet.AnchorGenerator'")


@pytest.mark.parametrize('part', ['bank', 'queries'])
def test_images_that_a_hook_embeds_need_a_pipeline(part, config):
    images = dict(type='Shapes', num_images=4, pipeline=[dict(type='PackImage')])
    config.custom_hooks = [dict(type='OnlineKNNHook', bank=dict(images), queries=dict(images))]
    check_config(config)
    del config.custom_hooks[0][part]['pipeline']
    assert refused(config, f'custom_hooks[0].{part} lacks pipeline')


@pytest.mark.parametrize('base', [object, nn.Module])
def test_a_component_without_arguments_takes_none(base, config):
    kind = type('WithoutArgumentsForCheckTest', (base,), {})
    config.train_dataloader.dataset.pipeline.insert(0, dict(type=kind))
    check_config(config)
    config.train_dataloader.dataset.pipeline[0] = dict(type=kind, nonsense=1)
    assert refused(config, 'nonsense') and refused(config, 'train_dataloader.dataset.pipeline[0]')


def test_a_component_that_is_made_by_new_takes_its_arguments(config):
    class MadeForCheckTest:
        def __new__(cls, size):
            return super().__new__(cls)
    config.train_dataloader.dataset.pipeline.insert(0, dict(type=MadeForCheckTest, size=1))
    check_config(config)
