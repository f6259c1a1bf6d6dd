"""From a checked config to MMEngine's Runner, on whatever machine this is."""

import logging

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmsimclr import distributed
from mmsimclr.checkpoints import (
    RECORD_KEY,
    check_scale,
    describe_model,
    fill_model,
    find_checkpoint,
    read_checkpoint,
)
from mmsimclr.engine import BFloat16OptimWrapper, scaled_lr
from mmsimclr.registry import RUNNERS

AMP_DTYPES = ('bf16', 'fp16')


class PretrainRunner(Runner):
    """MMEngine's Runner, which refuses a run of no steps, and whose checkpoints cannot lie.

    Loading runs nothing that is in the file and fills the whole model or stops; what is saved says
    how its encoder is built and fed.
    """

    def load_checkpoint(self, filename, map_location='cpu', strict=True, revise_keys=()):
        """Load a checkpoint of this model, all of it, and return its content.

        Args:
            filename: A file, folder, address or model-zoo name.
            map_location: MMEngine's; the file is read on the CPU.
            strict: MMEngine's; loading is always strict.
            revise_keys: MMEngine's; a prefix ``module.`` is taken off.

        Raises:
            CheckpointError: If the file is damaged, would run code, or does not fill the model.
        """
        checkpoint = read_checkpoint(find_checkpoint(filename))
        tree = dict(checkpoint.tree)
        self.call_hook('after_load_checkpoint', checkpoint=tree)
        matched = fill_model(self.model, tree, checkpoint.path)
        self._has_loaded = True
        self.logger.info(f'{matched} of {matched} tensors loaded from {checkpoint.path}; '
                         f'sha256: {checkpoint.sha256[:16]}')
        return tree

    def _init_model_weights(self) -> None:
        """Initialise the model; an encoder that was loaded must get images scaled as it knows them."""
        super()._init_model_weights()
        model = self.model.module if is_model_wrapper(self.model) else self.model
        scale = getattr(getattr(model, 'backbone', None), 'expected_input', None)
        if scale is not None:
            check_scale(model, scale, 'init_cfg')

    def save_checkpoint(self, out_dir, filename, *args, meta=None, **kwargs):
        """Save a checkpoint with a record of its encoder in ``meta``."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        record = describe_model(model)
        meta = {**(meta or {}), **({RECORD_KEY: record} if record else {})}
        super().save_checkpoint(out_dir, filename, *args, meta=meta, **kwargs)

    def build_train_loop(self, loop):
        """Build the train loop.

        Raises:
            ValueError: If an epoch would have no steps.
        """
        loop = super().build_train_loop(loop)
        loader = loop.dataloader
        if len(loader) == 0:
            raise ValueError(
                f'an epoch would have no steps: {len(loader.dataset)} images on {self.world_size} '
                f'process(es) do not fill one batch of {loader.batch_size}; lower '
                'train_dataloader.batch_size')
        return loop


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
    """
    if config.get('launcher', 'none') != 'none':
        distributed.start(config.launcher, config.get('env_cfg', {}).get('dist_cfg', {}))
    _adapt_to_device(config)
    _scale_learning_rate(config)
    if config.get('runner_type'):
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
        raise ValueError(f'amp must be one of {", ".join(AMP_DTYPES)}, got {dtype!r}')
    if dtype == 'fp16' and not torch.cuda.is_available():
        raise ValueError('fp16 training needs a GPU; use --amp bf16 on a CPU')
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
        raise ValueError('the config has no auto_scale_lr=dict(base_batch_size=..., rule=...), so the batch '
                         'its learning rate is for is not known')
    config.auto_scale_lr.enable = True


def _adapt_to_device(config: Config) -> None:
    loader = config.get('train_dataloader')
    if loader and not loader.get('num_workers'):
        loader.update(persistent_workers=False)              # torch refuses persistence of no workers
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
