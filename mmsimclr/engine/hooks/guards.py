"""Guards of a run: finite losses and weights, a frozen encoder, few images that are unreadable or clipped."""

from collections.abc import Callable

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from torch import nn

from mmsimclr.distributed import unwrap_model
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


class ChangedEncoderError(UserError, RuntimeError):
    """An encoder that is to be frozen has changed."""


@HOOKS.register_module()
class FrozenEncoderHook(Hook):
    """Raise :class:`ChangedEncoderError` if the fingerprint, ``sha256``, of a model's encoder changes.

    That is its ``encoder`` if it has one, as a Classifier on a projection head has, or else its ``backbone``.
    It is taken before a checkpoint is loaded, and compared before training, after every epoch and at the end.
    ``fingerprint`` is a function such as :func:`mmsimclr.features.weights_sha256`.
    """

    priority = 'BELOW_NORMAL'                          # before CheckpointHook: no changed encoder is saved

    def __init__(self, fingerprint: Callable[[nn.Module], str]) -> None:
        self._fingerprint = fingerprint
        self.sha256: str | None = None

    def before_run(self, runner) -> None:
        self.sha256 = self._now(runner)

    def _now(self, runner) -> str:
        model = unwrap_model(runner.model)
        return self._fingerprint(getattr(model, 'encoder', model.backbone))

    def before_train(self, runner) -> None:
        self._check(runner, 'what is resumed from was trained on another encoder, or an init_cfg '
                            'changed it: start anew in an empty work directory')

    def after_train_epoch(self, runner) -> None:
        self._check(runner, 'it was trained, or its norms were in training mode')

    after_train = after_train_epoch

    def _check(self, runner, reason: str) -> None:
        now = self._now(runner)
        if now != self.sha256:
            raise ChangedEncoderError(
                f'the encoder is to be frozen and has changed: {reason}. Its fingerprint was '
                f'{self.sha256[:16]} and is {now[:16]}; what it would measure is not the encoder of the '
                'checkpoint')


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Collect, after each epoch, which images the ranks found unreadable; log their number.

    The training set is a :class:`~mmsimclr.datasets.ReplaceUnreadable`, which refuses more than it allows.
    The checkpoint keeps what was found, so that a resumed run counts on.
    """

    priority = 'BELOW_NORMAL'                          # before CheckpointHook, which keeps what is found

    def before_train(self, runner) -> None:
        known = runner.message_hub.runtime_info.get('unreadable_images', [])
        runner.train_dataloader.dataset.unreadable[torch.tensor(known, dtype=torch.long)] = True
        self._logged = len(known)

    def after_train_epoch(self, runner) -> None:
        dataset = runner.train_dataloader.dataset
        found = dataset.unreadable.to(torch.uint8)
        all_reduce(found, 'max')
        dataset.unreadable |= found.bool()
        places = dataset.unreadable.nonzero().flatten().tolist()
        runner.message_hub.update_info('unreadable_images', places)
        if len(places) > self._logged:
            runner.logger.warning(f'{len(places)} of {len(dataset)} training images cannot be read; others '
                                  'are taken in their place')
            self._logged = len(places)
        dataset.check()

    after_train = after_train_epoch


@HOOKS.register_module()
class ClippedImagesHook(Hook):
    """Count, over each epoch, the images of which LoadChannels clipped values; log and keep the numbers.

    The pipeline ends in ``PackViews(keys=('clipped',))``, or in ``PackForDevice``.
    """

    priority = 'BELOW_NORMAL'                          # before CheckpointHook, which keeps what is found

    def before_train_epoch(self, runner) -> None:
        self._seen = torch.zeros(3, dtype=torch.float64)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        shares = (data_batch or {}).get('data_samples', {}).get('clipped')
        if shares is not None:
            shares = shares.double().cpu()
            self._seen += torch.stack([torch.tensor(len(shares)), (shares > 0).sum(), shares.sum()])

    def after_train_epoch(self, runner) -> None:
        all_reduce(self._seen)
        images, clipped, values = self._seen.tolist()
        if not images:
            return
        known = runner.message_hub.runtime_info.get('clipped_images')
        runner.message_hub.update_info('clipped_images', int(clipped))
        if clipped and known is None:
            runner.logger.info(f'{int(clipped)} of {int(images)} training images have values outside of the '
                               f'value range, {100 * values / images:.2g} % of all, which are clipped')
