"""Checkpoints that replace older ones only when they are whole."""

from collections import deque
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from mmsimclr.engine.hooks.preemption import INTERRUPTED
from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` (same arguments) that deletes an old checkpoint after a save, not before.

    It also deletes what a :class:`PreemptionHook` saved. Every config's ``CheckpointHook`` is built as this
    one. ``PretrainRunner.save_checkpoint`` writes the checkpoint and ``last_checkpoint``.
    """

    def before_train(self, runner) -> None:
        steps = list(runner.message_hub.runtime_info.get('keep_ckpt_ids', ()))
        super().before_train(runner)
        if '://' not in str(self.out_dir):
            Path(self.out_dir).mkdir(parents=True, exist_ok=True)
        if self.max_keep_ckpts > 0:
            # MMEngine has deleted what a killed run did not come to; the manifests go with the next save.
            self.keep_ckpt_ids = deque(steps)

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
                Path(runner.work_dir, f'{INTERRUPTED}{suffix}').unlink(missing_ok=True)
                for old in replaced:
                    path = self.file_backend.join_path(self.out_dir, f'{old}{suffix}')
                    if self.file_backend.isfile(path):
                        self.file_backend.remove(path)
