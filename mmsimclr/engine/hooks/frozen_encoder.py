"""A check that a frozen encoder stays as it was."""

from collections.abc import Callable

from mmengine.hooks import Hook
from torch import nn

from mmsimclr.distributed import unwrap_model
from mmsimclr.errors import UserError
from mmsimclr.registry import HOOKS


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
        self._check(runner, 'it was trained, or its norms were in training mode, in epoch '
                            f'{runner.epoch + 1}')

    def after_train(self, runner) -> None:
        self._check(runner, 'it was trained, or its norms were in training mode')

    def _check(self, runner, reason: str) -> None:
        now = self._now(runner)
        if now != self.sha256:
            raise ChangedEncoderError(
                f'the encoder is to be frozen and has changed: {reason}. Its fingerprint was '
                f'{self.sha256[:16]} and is {now[:16]}; what it would measure is not the encoder of the '
                'checkpoint')
