"""A config becomes a Runner whose parts fit, or is refused before any data is read."""

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from tiny_run import tiny_config

from mmsimclr.config import ConfigError, set_precision
from mmsimclr.datasets import Shapes
from mmsimclr.engine import LARS, AtomicCheckpointHook, BFloat16OptimWrapper
from mmsimclr.models import NonLinearNeck, SimCLR
from mmsimclr.registry import DATASETS, MODELS, RUNNERS
from mmsimclr.runner import PretrainRunner, build_runner, set_deterministic

on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')


@RUNNERS.register_module()
class RunnerForBuildTest(PretrainRunner):
    pass


@DATASETS.register_module()
class UnreadShapesForBuildTest(Shapes):
    """A dataset that nobody may build."""

    def __init__(self, **settings):
        raise AssertionError('data were read')


@MODELS.register_module()
class OwnNeckForBuildTest(NonLinearNeck):
    """A neck that does not say its width as ours does."""

    def __init__(self, in_channels, hid_channels, out_channels):
        super().__init__(in_channels, hid_channels, out_channels)
        self.own, self.fc0 = self.fc0, None


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


def test_a_text_config_becomes_a_runner_of_the_right_parts(config):
    runner = build_runner(config)
    assert isinstance(runner, Runner) and isinstance(runner.model, SimCLR)
    runner.train()
    assert isinstance(runner.optim_wrapper.optimizer, LARS)
    assert runner.iter == 2


@pytest.mark.parametrize('rule, accumulated, rate', [
    ('linear', 1, 0.3 * 8 / 256), ('linear', 4, 0.3 * 32 / 256), ('sqrt', 1, 0.3 * (8 / 256)**0.5),
    ('none', 4, 0.3)])
def test_rate_is_scaled_from_the_global_batch_once(config, rule, accumulated, rate):
    config.auto_scale_lr = dict(enable=True, base_batch_size=256, rule=rule)
    config.optim_wrapper.accumulative_counts = accumulated
    runner = build_runner(config)
    assert config.optim_wrapper.optimizer.lr == pytest.approx(rate)
    runner.train()                                     # MMEngine would scale again, linearly
    assert runner.optim_wrapper.param_groups[0]['initial_lr'] == pytest.approx(rate)


def test_rate_stays_where_scaling_is_not_enabled(config):
    config.auto_scale_lr = dict(enable=False, base_batch_size=256, rule='linear')
    build_runner(config)
    assert config.optim_wrapper.optimizer.lr == 0.3


@on_a_cpu
def test_sync_bn_is_for_gpus(config):
    config.sync_bn = 'torch'
    runner = build_runner(config)
    assert config.sync_bn is None
    assert not any(isinstance(m, torch.nn.SyncBatchNorm) for m in runner.model.modules())


def test_a_launcher_without_its_environment_is_refused(config, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    config.launcher = 'pytorch'
    with pytest.raises(RuntimeError, match='RANK, WORLD_SIZE, LOCAL_RANK'):
        build_runner(config)
    config.launcher = 'torchrun'
    with pytest.raises(ValueError, match=r"pytorch.*got 'torchrun'"):
        build_runner(config)


@pytest.mark.parametrize('before', [
    {}, dict(type=BFloat16OptimWrapper, enabled='auto'),
    dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')])
def test_bf16_replaces_whatever_wrapper_the_config_has(config, before):
    config.optim_wrapper.update(before)
    set_precision(config, 'bf16')
    runner = build_runner(config)
    wrapper = runner.build_optim_wrapper(config.optim_wrapper)
    assert type(wrapper) is BFloat16OptimWrapper and wrapper.enabled is True


def test_fp16_takes_mmengines_wrapper_on_a_gpu_and_is_refused_on_a_cpu(config, monkeypatch):
    config.optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match=r'fp16.*bf16'):
        set_precision(config, 'fp16')
    assert config.optim_wrapper.enabled == 'auto'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    set_precision(config, 'fp16')
    assert config.optim_wrapper.type == 'AmpOptimWrapper'
    assert 'enabled' not in config.optim_wrapper and config.optim_wrapper.loss_scale == 'dynamic'
    with pytest.raises(ValueError, match="fp16, auto, got 'fp8'"):
        set_precision(config, 'fp8')


@pytest.mark.parametrize('key, value', [
    ('train_dataloader.dataset.num_images', 7), ('train_cfg.max_epochs', 0),
    ('train_cfg', dict(by_epoch=False, max_iters=0, _delete_=True))])
def test_a_run_without_steps_is_refused(config, key, value):
    config.merge_from_dict({key: value})
    with pytest.raises(ValueError, match='no steps'):
        build_runner(config).train()


def test_no_workers_need_no_other_change_of_the_config(config):
    config.train_dataloader.update(num_workers=0, persistent_workers=True, prefetch_factor=4)
    build_runner(config).train()


@pytest.mark.parametrize('hooks', [
    None, dict(), dict(checkpoint=dict(interval=2)), dict(checkpoint=dict(type='CheckpointHook', interval=2)),
    dict(checkpoint=dict(type=CheckpointHook, interval=2)),
    dict(checkpoint=None, second=dict(type='mmengine.CheckpointHook', interval=2))])
def test_every_checkpoint_hook_saves_atomically(config, hooks):
    config.default_hooks = hooks
    runner = build_runner(config)
    checkpointing = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    assert [type(hook) for hook in checkpointing] == [AtomicCheckpointHook]


def test_no_checkpoints_are_no_checkpoints(config, tmp_path):
    config.default_hooks.checkpoint = None
    build_runner(config).train()
    assert not list(tmp_path.glob('*.pth'))


def test_only_runners_derived_from_ours_are_built(config):
    config.runner_type = Runner
    with pytest.raises(ConfigError, match=r'runner_type must be .*PretrainRunner'):
        build_runner(config)
    config.runner_type = RunnerForBuildTest
    assert type(build_runner(config)) is RunnerForBuildTest


def test_determinism_needs_no_seed_in_the_config(config):
    config.pop('randomness')
    set_deterministic(config)
    try:
        assert build_runner(config).deterministic
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_config_that_lacks_a_part_of_training_is_refused(config):
    config.pop('train_cfg')
    with pytest.raises(ConfigError, match='lacks train_cfg'):
        build_runner(config)


OTHERS = dict(type='mmpretrain.ResNet', depth=50, _delete_=True)
WIDTHS = [
    ({'neck.in_channels': 512}, 512, 32), ({'backbone.depth': 50}, 32, 128),
    ({'backbone.width_multiplier': 2}, 32, 64), ({'backbone.out_indices': (2,)}, 32, 16),
    ({'backbone.out_indices': (0, 1)}, 32, 8), ({'backbone.out_indices': ('stem',)}, 32, 4),
    ({'backbone': OTHERS}, 32, 2048),
    ({'backbone': dict(OTHERS, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))}, 32,
     1024)]


def with_changes(config, changes: dict):
    config.train_dataloader.dataset.type = 'UnreadShapesForBuildTest'
    config.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    return config


@pytest.mark.parametrize('changes, given, wanted', WIDTHS, ids=lambda value: str(value)[:40])
def test_a_projection_head_must_be_as_wide_as_the_encoder(changes, given, wanted, config):
    with pytest.raises(ConfigError, match=f'in_channels is {given}.*set .*in_channels={wanted},'):
        build_runner(with_changes(config, changes))
    build_runner(with_changes(config, {'neck.in_channels': wanted}))


@pytest.mark.parametrize('changes', [
    {'neck.num_layers': 0, 'neck.in_channels': 7},                # the identity
    {'neck.with_avg_pool': False, 'neck.in_channels': 128},       # maps of 2 x 2
    {'neck': dict(_delete_=True, type='OwnNeckForBuildTest', in_channels=7, hid_channels=8, out_channels=8)}],
    ids=str)
def test_where_widths_are_not_said_or_do_not_matter_nothing_is_refused(changes, config):
    build_runner(with_changes(config, changes))
