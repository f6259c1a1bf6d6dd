"""Checkpoints that replace older ones only when they are whole."""

import os
from collections import deque
from contextlib import suppress

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from mmsimclr.engine.hooks.held_out import KnownRules, recorded, require_measured
from mmsimclr.engine.hooks.preemption import INTERRUPTED
from mmsimclr.errors import InputError
from mmsimclr.registry import HOOKS

REFUSED = ('out_dir', 'filename_tmpl', 'backend_args', 'file_client_args')


@HOOKS.register_module()
class AtomicCheckpointHook(KnownRules, CheckpointHook):
    """MMEngine's ``CheckpointHook`` that deletes an old checkpoint after a save, not before.

    It also deletes what a :class:`PreemptionHook` saved. Every config's ``CheckpointHook`` is built as this
    one. Its arguments are the same, but for those of other places: checkpoints lie in the work directory, as
    ``epoch_N.pth`` or ``iter_N.pth``. ``save_best`` may also name what hooks measure after an epoch, such as
    ``'health/pooled_rankme'`` and ``'knn_accuracy'``.
    """

    def __init__(self, *args, **kwargs) -> None:
        for name in REFUSED:
            if kwargs.get(name) is not None:
                raise InputError(f'CheckpointHook takes no {name}: checkpoints lie in the work directory '
                                 '(--work-dir), as epoch_N.pth or iter_N.pth, where --resume looks for them')
        super().__init__(*args, **kwargs)

    def before_train(self, runner) -> None:
        steps = list(runner.message_hub.runtime_info.get('keep_ckpt_ids', ()))
        super().before_train(runner)
        if self.max_keep_ckpts > 0:
            # MMEngine has deleted what a killed run did not come to; the manifests go with the next save.
            self.keep_ckpt_ids = deque(steps)
        if self.save_best:
            require_measured(runner, self.key_indicators, 'save_best')

    def before_train_epoch(self, runner) -> None:
        # The run has counted the epoch before, as MMEngine's code for the best one expects.
        for figures in recorded(runner, of_now=True) if self.save_best else ():
            # None is passed over: what is not measured at this epoch.
            self._save_best_checkpoint(runner, {**dict.fromkeys(self.key_indicators), **figures})

    def after_train(self, runner) -> None:
        self.before_train_epoch(runner)
        last = runner.message_hub.runtime_info.get('last_ckpt_iteration', 0)
        if self.save_last and not self.by_epoch and last != runner.iter:     # stopped early
            self._save_checkpoint_with_step(runner, runner.iter, dict(epoch=runner.epoch, iter=runner.iter))
        super().after_train(runner)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        if not self.save_best:
            return
        # MMEngine would delete the best one so far before it writes the new one, so it is not told of it.
        is_one = len(self.key_indicators) == 1
        before = {'': self.best_ckpt_path} if is_one else self.best_ckpt_path_dict
        self.best_ckpt_path, self.best_ckpt_path_dict = None, dict.fromkeys(before)
        super()._save_best_checkpoint(runner, metrics)
        after = {'': self.best_ckpt_path} if is_one else self.best_ckpt_path_dict
        for key, path in before.items():
            if after[key] and path:
                # Where it was written may be another run's folder, of which this one is a copy.
                self._remove({os.path.basename(path)} - {os.path.basename(after[key])})
            after[key] = after[key] or path
        self.best_ckpt_path, self.best_ckpt_path_dict = after.get(''), {} if is_one else after

    def is_last_train_epoch(self, runner) -> bool:
        return super().is_last_train_epoch(runner) or runner.train_loop.stop_training

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            self.keep_ckpt_ids.append(step)
            # One more than are kept: a resumed run completes a deletion that this one does not live to see.
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.save_checkpoint(
            self.out_dir, name, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch, is_last=True)
        self.last_ckpt = os.path.join(self.out_dir, name)
        replaced = {INTERRUPTED}
        while self.max_keep_ckpts > 0 and len(self.keep_ckpt_ids) > self.max_keep_ckpts:
            replaced.add(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
        self._remove(replaced)

    def _remove(self, names: set[str]) -> None:
        for old in names if is_main_process() else ():
            for name in (f'{old}.json', old):                # a manifest never stays alone
                with suppress(OSError):                      # a folder of that name is not ours
                    os.remove(os.path.join(self.out_dir, name))
