"""Stopping: at Ctrl-C or a scheduler's signal finish the step, save, and say how to go on."""

import os
import signal
import threading
from collections.abc import Mapping

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch.utils.data import get_worker_info

from mmsimclr import distributed
from mmsimclr.registry import HOOKS

PREEMPTED = 75                    # sysexits.h: EX_TEMPFAIL, "the user is invited to try again"
INTERRUPTED = 'interrupted.pth'
BY_HAND = (signal.SIGINT, signal.SIGHUP)
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, *BY_HAND)


class Preempted(SystemExit):
    """The run was told to stop, has saved, and ends: with 75 for a scheduler, as shells have it by hand."""


@HOOKS.register_module()
class PreemptionHook(Hook):
    """At a signal save ``interrupted.pth`` after the running iteration, and end.

    SIGTERM and SIGUSR1 are a scheduler's: the status is 75. Ctrl-C (SIGINT) and a closed terminal (SIGHUP)
    are a person's; a second Ctrl-C ends the run at once. Signals that are ignored, as by ``nohup``, stay so.

    All ranks stop after the same iteration: in each they start an all-reduce of a flag and read the one of
    the iteration before, so several ranks stop one iteration later than a single process. With gradient
    accumulation they stop after the next update of the weights. Loader processes take no notice.
    """

    priority = 'LOWEST'                                # after CheckpointHook, the schedules and the log
    _received, _flag, _under_way = 0, None, None
    _replaced: Mapping[int, object] = {}

    def listen(self) -> None:
        """Take the signals, until :meth:`release`; ``PretrainRunner`` does both around its training.

        A test or a validation alone has nothing to save and must end at once.
        """
        self._received, self._process = 0, os.getpid()
        self._flag, self._under_way = None, None
        if threading.current_thread() is threading.main_thread():    # Python lets no other
            self._replaced = {number: signal.signal(number, self._note) for number in SIGNALS
                              if signal.getsignal(number) is not signal.SIG_IGN}

    def release(self) -> None:
        for number, handler in self._replaced.items():
            # None is a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._replaced = {}

    def _note(self, number: int, frame: object) -> None:
        # Forked processes have this handler too. A loader's goes on, since the iteration needs it even if the
        # signal is for the whole process group; others must obey.
        before, self._received = self._received, number
        if os.getpid() != self._process:
            if get_worker_info() is None:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
        elif number == signal.SIGINT:
            if before == number:
                # An exception may arise inside of a native writer, which ends in another error or an abort.
                # This is as safe as a kill, also in the middle of a save.
                os.write(2, b'interrupted\n')
                os._exit(128 + number)
            # Not by print, in whose middle the signal may have come.
            os.write(2, b'\nCtrl-C: finishing this step and saving; again: ends at once\n')

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        number = self._agreed(runner)
        if not number or not runner.optim_wrapper.should_update():
            return
        done, name = runner.iter + 1, signal.Signals(number).name
        if done == runner.max_iters:                         # nothing is left to be saved for
            return
        # As shells count an end by hand: nobody starts the run again by itself.
        status = 128 + number if number in BY_HAND else PREEMPTED
        runner.save_checkpoint(runner.work_dir, INTERRUPTED, by_epoch=False, is_last=True,
                               meta=dict(epoch=runner.epoch, iter=done))
        go_on = getattr(runner, 'go_on', None)
        runner.logger.warning(
            f'{name}: stopped after iteration {done} of {runner.max_iters}, which '
            f'{runner.work_dir}/{INTERRUPTED} holds (status {status}). '
            + (f'To go on:\n  {go_on}' if go_on else '--resume goes on from it'))
        distributed.stop()
        raise Preempted(status)

    def _agreed(self, runner) -> int:
        """Return the signal that some rank had received by the iteration before; by this one if alone."""
        if distributed.world_size() == 1:
            return self._received
        before, flag = self._under_way, self._flag
        self._flag = torch.tensor([self._received])
        self._under_way = dist.all_reduce(self._flag, op=dist.ReduceOp.MAX, async_op=True,
                                          group=distributed.host_group())
        if before is None:
            return 0
        before.wait()
        return int(flag.item())
