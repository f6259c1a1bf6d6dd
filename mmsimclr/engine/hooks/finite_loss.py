"""A stop at a loss that is not finite, before damaged weights overwrite a checkpoint."""

import torch
from mmengine.hooks import Hook

from mmsimclr.errors import InputError, UserError
from mmsimclr.registry import HOOKS


class DivergedError(UserError, FloatingPointError):
    """Training made a loss or a weight that is not finite."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise :class:`DivergedError` at the first loss that is not finite; name the last good checkpoint.

    The loss is remembered on its device and read on the host every ``interval`` iterations, after each epoch
    and before each checkpoint; there the weights too, which a bad gradient damages after a finite loss.
    """

    priority = 'BELOW_NORMAL'          # after the log, before OnlineKNNHook, which needs finite features
    _first_bad = None

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise InputError(f'interval must be >= 1, got {interval}')
        self.interval = interval

    def before_train(self, runner) -> None:
        self._first_bad = None

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        loss = outputs.get('loss') if isinstance(outputs, dict) else None
        if loss is not None:
            loss = torch.as_tensor(loss).detach()
            if self._first_bad is None:
                self._first_bad = torch.full((), -1, dtype=torch.int64, device=loss.device)
            bad_now = ~torch.isfinite(loss).all() & (self._first_bad < 0)
            self._first_bad = torch.where(bad_now, runner.iter, self._first_bad)
        if self.every_n_train_iters(runner, self.interval):
            self._check_loss(runner)

    def after_train_epoch(self, runner) -> None:
        self._check_loss(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._check_loss(runner)
        for name, tensor in checkpoint['state_dict'].items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                _stop(runner, f'{name} is not finite after iteration {checkpoint["meta"]["iter"]}')

    def _check_loss(self, runner) -> None:
        if self._first_bad is not None and self._first_bad.item() >= 0:
            _stop(runner, f'the loss is not finite at iteration {self._first_bad.item() + 1}')


def _stop(runner, what: str) -> None:
    last = runner.message_hub.runtime_info.get('last_ckpt')
    saved = f'The last good checkpoint is {last}.' if last else 'No checkpoint was written yet.'
    raise DivergedError(
        f'{what}: stopped. {saved} A resumed run keeps its learning rate and schedule and would come here '
        'again: start anew with a lower learning rate, a longer warm-up, or bf16 instead of fp16 '
        '(--cfg-options load_from=CKPT starts from the weights of a checkpoint)')
