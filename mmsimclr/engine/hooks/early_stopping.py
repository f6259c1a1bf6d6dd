"""Early stopping by what is measured during training."""

from mmengine.hooks import EarlyStoppingHook as OfMMEngine

from mmsimclr.engine.hooks.held_out import GREATER, recorded, require_measured
from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(OfMMEngine):
    """MMEngine's ``EarlyStoppingHook`` (same arguments), also by what hooks measure after an epoch.

    ``monitor`` is a name such as ``'health/pooled_rankme'`` or ``'knn_accuracy'``. A resumed run counts on
    from what was measured before. The last epoch is saved.
    """

    priority = 80                                            # after what measures, before CheckpointHook
    _default_greater_keys = [*OfMMEngine._default_greater_keys, *GREATER]

    def before_train(self, runner) -> None:
        require_measured(runner, [self.monitor], 'monitor of EarlyStoppingHook')
        self._look(runner, recorded(runner))

    def after_train_epoch(self, runner) -> None:
        self._look(runner, recorded(runner, of_now=True))

    def _look(self, runner, evaluations: list[dict]) -> None:
        for figures in evaluations:
            if figures['iteration'] and self.monitor in figures:
                self.after_val_epoch(runner, figures)
