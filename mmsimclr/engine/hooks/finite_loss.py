"""Stop at a loss that is not finite, before a checkpoint is overwritten with damaged weights."""

import torch
from mmengine.hooks import Hook

from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise at the first loss that is NaN or infinite, naming the iteration and the last good checkpoint.

    The loss is remembered on its device at every iteration and read on the host every ``interval``
    iterations and at the end of each epoch, always before a checkpoint is written.

    Args:
        interval: Iterations between looks, >= 1.

    Raises:
        ValueError: If interval is < 1.
        FloatingPointError: During training, at a loss that is not finite.
    """

    # Before CheckpointHook (VERY_LOW) and after the loss was logged.
    priority = 'BELOW_NORMAL'

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f'interval must be >= 1, got {interval}')
        self.interval = interval
        self._first_bad = None

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Remember whether this iteration's loss is finite; look now and then."""
        loss = outputs.get('loss') if isinstance(outputs, dict) else None
        if loss is None:
            return
        loss = torch.as_tensor(loss).detach()
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, dtype=torch.int64, device=loss.device)
        bad_now = ~torch.isfinite(loss).all() & (self._first_bad < 0)
        self._first_bad = torch.where(bad_now, runner.iter, self._first_bad)
        if self.every_n_train_iters(runner, self.interval):
            self._raise_if_bad(runner)

    def after_train_epoch(self, runner) -> None:
        """Look before the epoch's checkpoint is written."""
        self._raise_if_bad(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Look before a checkpoint by iteration is written."""
        self._raise_if_bad(runner)

    def _raise_if_bad(self, runner) -> None:
        if self._first_bad is None or self._first_bad.item() < 0:
            return
        last = runner.message_hub.runtime_info.get('last_ckpt')
        raise FloatingPointError(
            f'the loss is not finite at iteration {self._first_bad.item() + 1}: stopped. '
            + (f'The last good checkpoint is {last}. ' if last else 'No checkpoint was written yet. ')
            + 'Lower the learning rate, lengthen the warm-up, or use bf16 instead of fp16; then go on '
            'with --resume')
