"""Building a runner from a checked config."""

import logging
import os

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmsimclr import distributed
from mmsimclr.config.check import check_trains
from mmsimclr.config.errors import ConfigError
from mmsimclr.engine import BFloat16OptimWrapper, scaled_lr
from mmsimclr.errors import InputError
from mmsimclr.registry import RUNNERS
from mmsimclr.runner.adapt import allow_bad_images, check_view_sizes, place_views
from mmsimclr.runner.runner import PretrainRunner

AMP_DTYPES = ('bf16', 'fp16')


def build_runner(config: Config) -> Runner:
    """Adapt a config to this machine and build its Runner.

    One config serves one CPU process and many GPUs: without GPUs, process groups use gloo and batch
    norm stays per process; ``auto_scale_lr`` is resolved from the real global batch size.

    Args:
        config: A config from :func:`mmsimclr.config.load_config`. It is changed in place, so that what
            is dumped into the work directory is what ran.

    Returns:
        The Runner; ``runner.train()`` starts it.

    Raises:
        RuntimeError: If a launcher is named but its environment variables are not there.
        ValueError: If mixed precision is asked for that this device does not have.
        ConfigError: If the config lacks a part that training needs, or names a Runner that is not ours.
    """
    if config.get('launcher', 'none') != 'none':
        distributed.start(config.launcher, config.get('env_cfg', {}).get('dist_cfg', {}))
    check_trains(config)
    check_view_sizes(config)
    allow_bad_images(config)
    place_views(config)
    _adapt_to_determinism(config)
    _adapt_to_device(config)
    _save_atomically(config)
    _scale_learning_rate(config)
    if kind := config.get('runner_type'):
        runner_class = RUNNERS.get(kind) if isinstance(kind, str) else kind
        if runner_class is None or not issubclass(runner_class, PretrainRunner):
            raise ConfigError(f'runner_type must be a subclass of mmsimclr.config.PretrainRunner, whose '
                              f'checkpoints the hooks rely on, or its registered name; got {kind!r}')
        return RUNNERS.build(config)
    return PretrainRunner.from_cfg(config)


def set_amp(config: Config, dtype: str) -> None:
    """Put a config's optimizer in a mixed-precision wrapper.

    Args:
        config: The config to change.
        dtype: ``'bf16'`` (CPU or GPU) or ``'fp16'`` (GPU; with loss scaling).

    Raises:
        ValueError: If dtype is neither, or fp16 is asked for without a GPU.
    """
    if dtype not in AMP_DTYPES:
        raise InputError(f'amp must be one of {", ".join(AMP_DTYPES)}, got {dtype!r}')
    if dtype == 'fp16' and not torch.cuda.is_available():
        raise InputError('fp16 training needs a GPU; use --amp bf16 on a CPU')
    for name in ('enabled', 'dtype', 'loss_scale', 'use_fsdp'):      # of the wrapper it had before
        config.optim_wrapper.pop(name, None)
    if dtype == 'bf16':
        config.optim_wrapper.update(type=BFloat16OptimWrapper, enabled=True)
    else:
        config.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')


def set_auto_scale_lr(config: Config) -> None:
    """Have the learning rate scaled to the real global batch, by the config's rule.

    Raises:
        ValueError: If the config does not say which batch its learning rate is for.
    """
    if not config.get('auto_scale_lr'):
        raise InputError('the config has no auto_scale_lr=dict(base_batch_size=..., rule=...), so the batch '
                         'its learning rate is for is not known')
    config.auto_scale_lr.enable = True


def set_deterministic(config: Config) -> None:
    """Have a config's run use torch's deterministic algorithms only, and fail where torch has none."""
    config.randomness = {'seed': None, **(config.get('randomness') or {}), 'deterministic': True}


def _save_atomically(config: Config) -> None:
    """Have every checkpoint hook of MMEngine's be ours, however the config names it."""
    if config.get('default_hooks') is None:
        config.default_hooks = {}
    config.default_hooks.setdefault('checkpoint', dict(interval=1))
    if config.default_hooks.checkpoint is not None:
        config.default_hooks.checkpoint.setdefault('type', 'CheckpointHook')
    for hook in (*config.default_hooks.values(), *(config.get('custom_hooks') or ())):
        if isinstance(hook, dict) and hook.get('type') in (CheckpointHook, 'CheckpointHook',
                                                           'mmengine.CheckpointHook'):
            hook['type'] = 'mmsimclr.AtomicCheckpointHook'          # by name: the config is dumped as text


def _adapt_to_determinism(config: Config) -> None:
    if (config.get('randomness') or {}).get('deterministic'):
        config.setdefault('env_cfg', {}).update(cudnn_benchmark=False)
        # Read once, when cuBLAS starts: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')


def _adapt_to_device(config: Config) -> None:
    loader = config.get('train_dataloader')
    if loader and not loader.get('num_workers'):
        loader.update(persistent_workers=False)              # torch refuses both where there are no workers
        loader.pop('prefetch_factor', None)
    if torch.cuda.is_available():
        return
    if config.get('sync_bn'):
        config.sync_bn = None
        if distributed.is_distributed():
            print_log('no GPU: batch norm statistics are per process (sync_bn is for GPUs)', 'current',
                      logging.WARNING)
    if distributed.is_distributed():
        wrapper = config.get('model_wrapper_cfg') or dict(type='MMDistributedDataParallel',
                                                          broadcast_buffers=False)
        config.model_wrapper_cfg = {**wrapper, 'device_ids': None}


def _scale_learning_rate(config: Config) -> None:
    scaling = config.get('auto_scale_lr')
    if not scaling or not scaling.pop('enable', False):
        return
    batch = config.train_dataloader.batch_size * distributed.world_size()
    batch *= config.optim_wrapper.get('accumulative_counts', 1)
    rule = scaling.get('rule', 'linear')
    optimizer = config.optim_wrapper.optimizer
    written_for = scaled_lr(1.0, scaling.base_batch_size, rule)
    lr = optimizer.lr * scaled_lr(1.0, batch, rule) / written_for
    print_log(f'learning rate {optimizer.lr:g} at a global batch of {scaling.base_batch_size} becomes '
              f'{lr:g} at {batch} ({rule} rule)', 'current')
    optimizer.lr = lr
