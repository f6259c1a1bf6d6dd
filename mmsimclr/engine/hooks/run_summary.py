"""A summary, before the first step, of the numbers that decide a SimCLR run."""

from mmengine.hooks import Hook

from mmsimclr.distributed import unwrap_model, world_size
from mmsimclr.environment import flags, versions
from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Log what decides the run, and what is needed to repeat it, when training starts."""

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        log, loader = runner.logger, runner.train_dataloader
        per_device, batch = loader.batch_size, loader.batch_size * world_size()
        groups = runner.optim_wrapper.optimizer.param_groups
        peak = groups[0].get('initial_lr', groups[0]['lr'])
        parameters = sum(p.numel() for group in groups for p in group['params'])
        runner.message_hub.update_info('started_at_iteration', runner.iter)
        accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        log.info(f'global batch {batch} = {per_device} per device x {world_size()} process(es)'
                 + (f', {accumulated} accumulated' if accumulated > 1 else ''))
        if accumulated > 1:
            log.warning('accumulative_counts adds no negatives: each loss sees the batch of one step. For '
                        'those of a batch that does not fit into memory, raise train_dataloader.batch_size '
                        'and set model.chunk_size')
        chunk_size = getattr(unwrap_model(runner.model), 'chunk_size', None)
        if chunk_size is not None and chunk_size >= per_device:
            log.warning(f'model.chunk_size={chunk_size} is not below the {per_device} images of a batch, so '
                        'it saves no memory: the whole batch goes through the encoder at once')
        log.info(f'{2 * batch - 2} negatives per anchor; the loss starts near ln({2 * batch - 1}) at chance')
        log.info(f'learning rate {peak:.6g} at its peak; {len(loader)} steps per epoch, '
                 f'{runner.max_epochs} epochs, {runner.max_iters} steps')
        log.info(f'{len(loader.dataset)} images; {parameters / 1e6:.2f} M trainable '
                 f'parameters in {len(groups)} groups')
        log.info(f'seed {runner.seed}; ' + ', '.join(
            f'{name} {value}' for name, value in flags().items() if name != 'environment'))
        log.info('versions: ' + ', '.join(
            f'{name} {version}' for name, version in versions().items() if version))
