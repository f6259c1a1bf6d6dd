"""Checkpoints that replace older ones only when they are whole."""

import re
from collections import deque
from contextlib import suppress
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from mmsimclr.engine.hooks.held_out import GREATER, recorded, require_measured
from mmsimclr.engine.hooks.preemption import INTERRUPTED
from mmsimclr.errors import InputError
from mmsimclr.registry import HOOKS

STEPS = (*range(1, 102), 999, 1000, 1001, 99_999, 100_000, 100_001, 1_234_567, 1_234_568)


def check_template(template: str) -> None:
    """Refuse names of checkpoints that would overwrite each other, or that nobody would find again."""
    try:
        names = [template.format(step) for step in STEPS]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        names = []
    # Names of model zoos end in - and eight digits, those of the SHA-256.
    if len({*names}) < len(STEPS) or any(
            Path(name).name != name or not name.endswith('.pth') or re.search(r'-[0-9a-f]{8}\.pth$', name)
            for name in names):
        raise InputError('filename_tmpl must have one place for the number, no folders, end in .pth, and not '
                         "in - and eight digits, such as 'iter_{}.pth' or 'epoch_{:04d}.pth'; got "
                         f'{template!r}')


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` (same arguments) that deletes an old checkpoint after a save, not before.

    It also deletes what a :class:`PreemptionHook` saved. Every config's ``CheckpointHook`` is built as this
    one. ``PretrainRunner.save_checkpoint`` writes the checkpoint and ``last_checkpoint``.

    ``filename_tmpl`` must give each number a name of its own that ends in ``.pth``, by which ``--resume``
    finds it. ``save_best`` may also name what hooks measure after an epoch, such as
    ``'health/pooled_rankme'`` and ``'knn_accuracy'``.
    """

    _default_greater_keys = [*CheckpointHook._default_greater_keys, *GREATER]

    def __init__(self, *args, filename_tmpl: str | None = None, **kwargs) -> None:
        if filename_tmpl is not None:
            check_template(filename_tmpl)
        super().__init__(*args, filename_tmpl=filename_tmpl, **kwargs)

    def before_train(self, runner) -> None:
        steps = list(runner.message_hub.runtime_info.get('keep_ckpt_ids', ()))
        super().before_train(runner)
        if '://' not in str(self.out_dir):
            Path(self.out_dir).mkdir(parents=True, exist_ok=True)
            if hasattr(runner, 'hold'):                      # of runs with one name, it is one folder
                runner.hold(self.out_dir)
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
            if is_main_process() and '://' not in str(self.out_dir):
                for manifest in Path(self.out_dir).glob('best_*.pth.json'):      # of one that was replaced
                    if not manifest.with_suffix('').exists():
                        manifest.unlink()

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
            if not after[key]:
                after[key] = path
            elif path and path != after[key] and is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)
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
            self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, is_last=True)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        replaced = []
        while self.max_keep_ckpts > 0 and len(self.keep_ckpt_ids) > self.max_keep_ckpts:
            replaced.append(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
        if is_main_process():
            for suffix in ('', '.json'):                     # the checkpoint and its manifest
                with suppress(OSError):                      # a folder of that name is not ours
                    Path(runner.work_dir, f'{INTERRUPTED}{suffix}').unlink()
                for old in replaced:
                    path = self.file_backend.join_path(self.out_dir, f'{old}{suffix}')
                    if self.file_backend.isfile(path):
                        self.file_backend.remove(path)
