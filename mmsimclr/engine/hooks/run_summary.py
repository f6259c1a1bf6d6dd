"""A summary before the first step: what is trained on what, and the numbers that decide a SimCLR run."""

import math
import os
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mmsimclr.distributed import unwrap_model, world_size
from mmsimclr.engine.optimizers.autocast import native_bfloat16
from mmsimclr.environment import cpu_name, flags, num_usable_cores, versions
from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Log what decides the run when training starts, and for the log file what is needed to repeat it."""

    priority = 'ABOVE_NORMAL'                   # before hooks that take their time, such as OnlineKNNHook

    def before_train(self, runner) -> None:
        log, loader, model = runner.logger, runner.train_dataloader, unwrap_model(runner.model)
        per_device, batch = loader.batch_size, loader.batch_size * world_size()
        groups = runner.optim_wrapper.optimizer.param_groups
        peak = groups[0].get('initial_lr', groups[0]['lr'])
        parameters = sum(p.numel() for group in groups for p in group['params'])
        accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        encoder = getattr(model, 'backbone', None)
        settings = getattr(encoder, 'settings', {})
        depth = f"-{settings['depth']}" if 'depth' in settings else f" {settings.get('name', '')}".rstrip()
        split = f' = {per_device} on each of {world_size()} processes' if world_size() > 1 else ''
        times = f', {accumulated} accumulated' if accumulated > 1 else ''
        facts = {
            'images': images_of(loader.dataset),
            'model': f'{type(model).__name__}, {type(encoder).__name__}{depth}, {parameters / 1e6:.2f} M '
                     'trainable parameters',
            'device': f'{device_of(model)}, {precision_of(runner.optim_wrapper, model)}',
            'global batch': f'{batch}{split}{times}: {2 * batch - 2} negatives per anchor; the loss starts '
                            f'near ln({2 * batch - 1}) = {math.log(max(2 * batch - 1, 1)):.2f}',
            'learning rate': f'{peak:.6g} at its peak',
            'steps': f'{runner.max_iters:,} = {runner.max_epochs:,} epochs of {len(loader):,}',
            'results': f'{min(os.path.relpath(runner.work_dir), runner.work_dir, key=len)} (the log is in '
                       f'{Path(runner.log_dir).name})'}
        if runner.iter:
            facts['steps'] += f'; going on after {runner.iter:,}'
        for name, value in facts.items():
            log.info(f'{name:<14} {value}')
        if accumulated > 1:
            log.warning('accumulative_counts adds no negatives: each loss sees the batch of one step. For '
                        'those of a batch that does not fit into memory, raise train_dataloader.batch_size '
                        'and set model.chunk_size')
        chunk_size = getattr(model, 'chunk_size', None)
        if chunk_size is not None and chunk_size >= per_device:
            log.warning(f'model.chunk_size={chunk_size} is not below the {per_device} images of a batch, so '
                        'it saves no memory: the whole batch goes through the encoder at once')
        print_log(f'seed {runner.seed}; ' + ', '.join(
            f'{name} {value}' for name, value in flags().items() if name != 'environment'), 'current')
        print_log('versions: ' + ', '.join(
            f'{name} {version}' for name, version in versions().items() if version), 'current')


def images_of(dataset: torch.utils.data.Dataset) -> str:
    """Return how many images a dataset has, where they are, and of how many classes, for people."""
    inner = dataset
    while hasattr(inner, 'dataset'):
        inner = inner.dataset
    root = getattr(inner, 'data_root', '')
    place = f'in {root}' if root else f'of {type(inner).__name__}'
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()
    return f'{len(dataset):,} {place}, ' + (f'{len(classes)} classes, not used' if classes else 'no labels')


def device_of(model: torch.nn.Module) -> str:
    """Return the name of the device a model is on, for people."""
    device = next(model.parameters()).device
    if device.type == 'cuda':
        return (f'{world_size()} x ' if world_size() > 1 else '') + torch.cuda.get_device_name(device)
    return f'{num_usable_cores()} core(s) of {cpu_name()}' if device.type == 'cpu' else device.type


def precision_of(wrapper: object, model: torch.nn.Module) -> str:
    """Return the type of number that a step computes with."""
    if (enabled := getattr(wrapper, 'enabled', None)) is not None:
        device = next(model.parameters()).device.type
        return 'bfloat16' if enabled is True or (enabled == 'auto' and native_bfloat16(device)) else 'float32'
    return str(getattr(wrapper, 'cast_dtype', None) or 'float32').removeprefix('torch.')
