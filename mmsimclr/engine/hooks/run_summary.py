"""State, before the first step, the numbers that decide what a SimCLR run is."""

from mmengine.hooks import Hook

from mmsimclr import distributed
from mmsimclr.distributed import unwrap_model
from mmsimclr.environment import flags, versions
from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Log what decides the run, and what is needed to repeat it, when training starts."""

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        """Write the summary."""
        per_device = runner.train_dataloader.batch_size
        world_size = distributed.world_size()
        accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        batch = per_device * world_size
        steps = len(runner.train_dataloader)
        groups = runner.optim_wrapper.optimizer.param_groups
        peak = groups[0].get('initial_lr', groups[0]['lr'])
        parameters = sum(p.numel() for group in groups for p in group['params'])
        runner.message_hub.update_info('started_at_iteration', runner.iter)
        runner.logger.info(
            f'global batch {batch} = {per_device} per device x {world_size} process(es)'
            + (f', {accumulated} accumulated' if accumulated > 1 else ''))
        if accumulated > 1:
            runner.logger.warning(
                'accumulative_counts adds no negatives: each loss sees the batch of one step. For those of a '
                'batch that does not fit into memory, raise train_dataloader.batch_size and set '
                'model.chunk_size')
        model = unwrap_model(runner.model)
        chunk_size = getattr(model, 'chunk_size', None)
        if chunk_size is not None and chunk_size >= per_device:
            runner.logger.warning(
                f'model.chunk_size={chunk_size} is not below the {per_device} images of a batch, so it saves '
                'no memory: the whole batch goes through the encoder at once')
        runner.logger.info(
            f'{2 * batch - 2} negatives per anchor; the loss starts near ln({2 * batch - 1}) at chance')
        runner.logger.info(
            f'learning rate {peak:.6g} at its peak; {steps} steps per epoch, '
            f'{runner.max_epochs} epochs, {runner.max_iters} steps')
        runner.logger.info(
            f'{len(runner.train_dataloader.dataset)} images; {parameters / 1e6:.2f} M trainable '
            f'parameters in {len(groups)} groups')
        runner.logger.info(f'seed {runner.seed}; ' + ', '.join(
            f'{name} {value}' for name, value in flags().items() if name != 'environment'))
        runner.logger.info('versions: ' + ', '.join(
            f'{name} {version}' for name, version in versions().items() if version))
