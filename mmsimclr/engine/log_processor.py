"""One readable line of log for each interval of training."""

from datetime import timedelta

from mmengine.runner import LogProcessor

from mmsimclr import distributed
from mmsimclr.registry import LOG_PROCESSORS

# Shown with these names, in this order; whatever else the model logs follows under its own.
SHORT_NAMES = {'loss': 'loss', 'contrastive_accuracy': 'accuracy', 'contrastive_entropy': 'entropy'}


@LOG_PROCESSORS.register_module()
class PretrainLogProcessor(LogProcessor):
    """MMEngine's processor, with images per second and a shorter line for training.

    Images per second are over all ranks, loading included. Every backend (the JSON file, TensorBoard,
    Weights & Biases) receives all scalars under their full names.
    """

    def get_log_after_iter(self, runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Return the scalars for the backends and the line for the terminal."""
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        if mode != 'train' or 'time' not in tag:
            return tag, line
        images = runner.train_dataloader.batch_sampler.batch_size * distributed.world_size()
        tag['images_per_second'] = images / max(tag['time'], 1e-9)

        parts, steps = [], runner.max_iters
        if self.by_epoch:
            steps = len(runner.train_dataloader)
            width = len(str(runner.max_epochs))
            parts = [f'epoch {runner.epoch + 1:>{width}}/{runner.max_epochs}']
        parts += [f'step {batch_idx + 1:>{len(str(steps))}}/{steps}']
        parts += [f'{name} {tag[key]:.4f}' for key, name in SHORT_NAMES.items() if key in tag]
        known = {*SHORT_NAMES, 'lr', 'time', 'data_time', 'images_per_second', 'epoch', 'iter', 'memory'}
        parts += [f'{key} {value:.4f}' for key, value in tag.items()
                  if key not in known and isinstance(value, float) and not key.endswith('/lr')
                  and key != 'base_lr']
        parts += [f'lr {tag["lr"]:.4g}'] if 'lr' in tag else []
        parts += [f'{tag["images_per_second"]:,.0f} images/s']
        parts += [f'{tag["memory"]} MiB'] if 'memory' in tag else []
        eta = runner.message_hub.runtime_info.get('eta')
        parts += [f'ETA {timedelta(seconds=int(eta))}'] if eta is not None else []
        return tag, '  '.join(parts)
