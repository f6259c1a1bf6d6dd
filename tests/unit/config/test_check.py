"""An unknown key or type anywhere is refused, with its place and the nearest known name."""

import pytest
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor
from tiny_run import tiny_config

from mmsimclr.config import ConfigError, check_config
from mmsimclr.engine import LARS, LARSOptimWrapperConstructor
from mmsimclr.models import ResNet

OPENMMLAB = dict(custom_keys={'bn': dict(decay_mult=0, lars_exclude=True)})


class UnregisteredHookForCheckTest(Hook):
    def __init__(self, threshold: float):
        self.threshold = threshold


class OwnConstructorForCheckTest(DefaultOptimWrapperConstructor):
    pass


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


def place_in(config: ConfigDict, dotted: str, value: object) -> None:
    *path, last = dotted.split('.')
    node = config
    for key in path:
        node = node[int(key)] if key.isdigit() else node[key]
    node[last] = value


def refusal(config: ConfigDict) -> str:
    with pytest.raises(ConfigError) as error:
        check_config(config)
    return str(error.value)


UNKNOWN_KEYS = [
    ('modle', dict(type='SimCLR'), 'model'),
    ('custom_hook', [dict(type='FiniteLossHook')], 'custom_hooks'),
    ('resum', True, 'resume'),
    ('model.bacbone', dict(type='ResNet'), 'backbone'),
    ('model.backbone.dept', 50, 'depth'),
    ('model.neck.num_layer', 3, 'num_layers'),
    ('model.head.temprature', 0.1, 'temperature'),
    ('train_dataloader.batchsize', 4, 'batch_size'),
    ('train_dataloader.sampler.shufle', True, 'shuffle'),
    ('train_dataloader.dataset.num_image', 4, 'num_images'),
    ('train_dataloader.dataset.pipeline.0.num_view', 2, 'num_views'),
    ('train_dataloader.dataset.pipeline.0.transforms.0.strenght', 1.0, 'strength'),
    ('train_cfg.max_epoch', 3, 'max_epochs'),
    ('optim_wrapper.optimiser', dict(type='LARS'), 'optimizer'),
    ('optim_wrapper.optimizer.weight_decai', 0.1, 'weight_decay'),
    ('param_scheduler.0.warm_up', 2, 'warmup'),
    ('default_hooks.checkpoint.intervall', 2, 'interval'),
    ('custom_hooks.1.intervals', 2, 'interval'),
    ('log_processor.windowsize', 2, 'window_size'),
    ('randomness.sed', 2, 'seed'),
    ('env_cfg.cudnn_bench', True, 'cudnn_benchmark'),
    ('auto_scale_lr.base_batch', 256, 'base_batch_size'),
]


@pytest.mark.parametrize('place, value, nearest', UNKNOWN_KEYS, ids=[case[0] for case in UNKNOWN_KEYS])
def test_an_unknown_key_is_refused_with_its_place_and_the_nearest_known_one(config, place, value, nearest):
    config.env_cfg = dict(cudnn_benchmark=False)
    config.auto_scale_lr = dict(enable=False, base_batch_size=8)
    check_config(config)
    place_in(config, place, value)
    message = refusal(config)
    path, _, key = place.rpartition('.')
    assert f'unknown key {key!r}' in message
    assert f"did you mean '{nearest}'" in message or f'did you mean {nearest!r}' in message
    assert all(part in message for part in path.split('.') if not part.isdigit())


UNKNOWN_TYPES = [
    ('model.type', 'SimClr', 'SimCLR'),
    ('model.backbone.type', 'Resnet', 'ResNet'),
    ('model.backbone.type', 'mmpretrain.ResNett', 'mmpretrain.ResNet'),
    ('optim_wrapper.optimizer.type', 'LAR', 'LARS'),
    ('optim_wrapper.type', 'OptimWraper', 'OptimWrapper'),
    ('default_hooks.checkpoint.type', 'ChekpointHook', 'CheckpointHook'),
    ('train_dataloader.dataset.pipeline.1.type', 'PackView', 'PackViews'),
    ('train_dataloader.dataset.pipeline.0.transforms.0.type', 'SimCLRVeiw', 'SimCLRView'),
    ('param_scheduler.0.type', 'WarmupCosinLR', 'WarmupCosineLR'),
]


@pytest.mark.parametrize('place, name, nearest', UNKNOWN_TYPES, ids=[case[1] for case in UNKNOWN_TYPES])
def test_an_unknown_type_gets_the_nearest_name(config, place, name, nearest):
    place_in(config, place, name)
    message = refusal(config)
    assert f'unknown type {name!r}' in message
    assert f'did you mean {nearest!r}' in message


def test_types_may_be_strings_classes_and_names_of_other_packages(config):
    check_config(config)
    config.model.backbone = dict(type=ResNet, depth=18)
    check_config(config)
    config.model.backbone = dict(type='mmpretrain.ResNet', depth=18, norm_eval=True)
    check_config(config)
    config.model.backbone.norm_evall = True
    assert "did you mean 'norm_eval'" in refusal(config)
    config.model.backbone = dict(type=ResNet, dept=18)
    assert "did you mean 'depth'" in refusal(config)


def test_what_mmengines_builders_take_out_themselves_is_known(config):
    config.custom_hooks.append(dict(type='EmptyCacheHook', after_epoch=True, priority='LOW'))
    config.custom_hooks.append(dict(type=UnregisteredHookForCheckTest, threshold=1.0, priority='LOW'))
    config.optim_wrapper.clip_grad = dict(max_norm=1.0)
    config.train_dataloader.collate_fn = dict(type='default_collate')
    config.train_dataloader.num_batch_per_epoch = 1
    check_config(config)
    config.custom_hooks[-1]['treshold'] = 1.0
    assert "did you mean 'threshold'" in refusal(config)


def test_settings_by_parameter_are_checked_too(config):
    config.optim_wrapper.paramwise_cfg = dict(OPENMMLAB, norm_decay_mult=0.0)
    check_config(config)
    config.optim_wrapper.paramwise_cfg = dict(custm_keys={})
    assert "in optim_wrapper.paramwise_cfg; did you mean 'custom_keys'" in refusal(config)
    config.optim_wrapper.paramwise_cfg = dict(custom_keys={'bn': dict(lars_exclud=True)})
    assert "custom_keys['bn']; did you mean 'lars_exclude'" in refusal(config)
    config.optim_wrapper.constructor = OwnConstructorForCheckTest
    check_config(config)


def test_classes_serve_as_optimizer_and_constructor(config):
    config.optim_wrapper = dict(optimizer=dict(type=LARS, lr=0.1), constructor=LARSOptimWrapperConstructor,
                                paramwise_cfg=OPENMMLAB)
    check_config(config)
    config.optim_wrapper.paramwise_cfg.custom_keys.bn.decay_mul = 0
    assert "did you mean 'decay_mult'" in refusal(config)


def test_variables_that_were_used_plain_values_and_private_names_are_accepted(config):
    config.global_batch = 256
    config.strengths = [0.5, 1.0]
    config.online_neck = dict(config.model.neck)
    config._scratch = dict(anything=1)
    check_config(config)
    config.online_neck.num_layers = 7
    assert "unknown key 'online_neck' at the top level" in refusal(config)


def test_dicts_that_belong_to_a_component_are_left_to_it(config):
    config.model.neck.norm_cfg = dict(type='BN', momentum=0.01)
    config.model.init_cfg = dict(type='Kaiming', layer='Conv2d')
    config.visualizer = dict(type='Visualizer', vis_backends=[
        dict(type='WandbVisBackend', init_kwargs=dict(project='simclr'))])
    check_config(config)
    config.visualizer.vis_backends[0].init_kwarg = {}
    assert "did you mean 'init_kwargs'" in refusal(config)


@pytest.mark.parametrize('place, wrong, right', [
    (('default_hooks', 'chekpoint'), dict(interval=1), 'checkpoint'),
    (('env_cfg', 'dist_cfg', 'timout'), 5, 'timeout'),
    (('env_cfg', 'mp_cfg', 'opencv_threads'), 0, 'opencv_num_threads')])
def test_sections_without_types_are_checked_too(place, wrong, right):
    config = dict(env_cfg=dict(dist_cfg=dict(backend='nccl'), mp_cfg=dict()),
                  default_hooks=dict(timer=dict(type='IterTimerHook')))
    check_config(config)
    section = config
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = wrong
    with pytest.raises(ConfigError, match=f'{place[-1]!r}.*did you mean {right!r}'):
        check_config(config)
