import errno

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from tiny_run import tiny_config

from mmsimclr.config import ConfigError
from mmsimclr.engine import LARS, AtomicCheckpointHook, BFloat16OptimWrapper
from mmsimclr.models import SimCLR
from mmsimclr.registry import RUNNERS
from mmsimclr.runner import PretrainRunner, build_runner, set_amp, set_deterministic
from mmsimclr.runner.failures import explained_failures
from mmsimclr.transforms.load import ImageReadError

on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')


@RUNNERS.register_module()
class RunnerForRunnerTest(PretrainRunner):
    pass


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
    with pytest.raises(RuntimeError, match='needs RANK, WORLD_SIZE, LOCAL_RANK in the environment'):
        build_runner(config)
    config.launcher = 'torchrun'
    with pytest.raises(ValueError, match="none, pytorch, slurm, mpi, got 'torchrun'"):
        build_runner(config)


@pytest.mark.parametrize('before', [
    {}, dict(type=BFloat16OptimWrapper, enabled='auto'),
    dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')])
def test_bf16_replaces_whatever_wrapper_the_config_has(config, before):
    config.optim_wrapper.update(before)
    set_amp(config, 'bf16')
    runner = build_runner(config)
    wrapper = runner.build_optim_wrapper(config.optim_wrapper)
    assert type(wrapper) is BFloat16OptimWrapper and wrapper.enabled is True


def test_fp16_takes_mmengines_wrapper_on_a_gpu_and_is_refused_on_a_cpu(config, monkeypatch):
    config.optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='fp16 training needs a GPU; use --amp bf16'):
        set_amp(config, 'fp16')
    assert config.optim_wrapper.enabled == 'auto'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    set_amp(config, 'fp16')
    assert config.optim_wrapper.type == AmpOptimWrapper.__name__
    assert 'enabled' not in config.optim_wrapper and config.optim_wrapper.loss_scale == 'dynamic'


def test_unknown_precision_is_refused(config):
    with pytest.raises(ValueError, match="bf16, fp16, got 'fp8'"):
        set_amp(config, 'fp8')


def test_a_run_without_steps_is_refused(config):
    config.train_dataloader.dataset.num_images = config.train_dataloader.batch_size - 1
    config.train_dataloader.drop_last = True
    with pytest.raises(ValueError, match=r'7 images on 1 process.* do not fill one batch of 8'):
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


def test_a_runner_without_our_checkpoints_is_refused(config):
    config.runner_type = Runner
    with pytest.raises(ConfigError, match=r'must be a subclass of mmsimclr\.config\.PretrainRunner'):
        build_runner(config)


def test_a_runner_derived_from_ours_is_built(config):
    config.runner_type = RunnerForRunnerTest
    assert type(build_runner(config)) is RunnerForRunnerTest


def test_determinism_needs_no_seed_in_the_config(config):
    config.pop('randomness')
    set_deterministic(config)
    try:
        assert build_runner(config).deterministic
    finally:
        torch.use_deterministic_algorithms(False)


def test_bad_images_need_files(config):
    config.bad_images = dict(max_fraction=0.1)
    config.views = 'device'
    with pytest.raises(ConfigError, match='bad_images is about files'):
        build_runner(config)


def test_an_image_on_a_failing_disk_is_not_taken_for_a_failing_save(config):
    runner = build_runner(config)
    error = ImageReadError('cannot read image a.jpg: Input/output error')
    error.errno = errno.EIO
    for raised in (error, ConnectionRefusedError(errno.ECONNREFUSED, 'the tracking server')):
        with pytest.raises(type(raised)) as caught, explained_failures(runner):
            raise raised
        assert caught.value is raised
