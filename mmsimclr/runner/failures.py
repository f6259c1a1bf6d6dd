"""Failures of a run, explained in one line."""

import errno
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise

import torch

from mmsimclr.errors import UserError
from mmsimclr.runner.checkpointing import SaveError

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
DISK_ERRNOS = (*WRITING, errno.EIO, errno.ESTALE)
SHARED_MEMORY = '/dev/shm'                  # nosec B108: where loader processes leave batches


class RunError(UserError, RuntimeError):
    """A run ended because of the machine it ran on; the message says what to do."""


@contextmanager
def explained_failures(runner) -> Iterator[None]:
    """Raise a :class:`RunError`, which says how to go on, at failures of memory, disks and processes.

    Torch has no type for the loss of another process: in a run of many, any RuntimeError counts as one.
    """
    try:
        yield
    except (RunError, SaveError) as error:
        raise type(error)(f'{error}. {_go_on(runner)}') from error
    except UserError:
        raise
    except (RuntimeError, MemoryError, OSError, EOFError) as error:
        _ignore_ends_of_loaders()
        if (reason := _reason(error, runner)) is None:
            raise
        raise RunError(f'{reason}. {_go_on(runner)}') from error


def _ignore_ends_of_loaders() -> None:
    """Keep torch from raising, in the middle of the end of a run, that a loader's process was killed."""
    if hasattr(signal, 'SIGCHLD') and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _reason(error: Exception, runner) -> str | None:
    text, iteration = str(error), runner.iter + 1
    # Torch has types for few of these. The text of an error in a loader process ends in that of its cause.
    if 'Too many open files' in text or getattr(error, 'errno', None) in (errno.EMFILE, errno.ENFILE):
        return (f'too many files are open at iteration {iteration} ({_line(error, -1)}): raise the limit '
                '(ulimit -n), or lower train_dataloader.num_workers')
    if '</torch_' in text:
        return (f'passing images through {SHARED_MEMORY} failed at iteration {iteration} '
                f'({_line(error, -1)}): enlarge it (docker run --shm-size), or lower '
                'train_dataloader.num_workers')
    if 'DataLoader timed out' in text:
        return (f'the processes that load images sent nothing for {runner.train_dataloader.timeout:g} s '
                f'(train_dataloader.timeout) at iteration {iteration}{_full_places(runner)}')
    if 'DataLoader worker (pid' in text:
        return (f'a process that loads images ended at iteration {iteration} ({_line(error)}). The '
                "kernel's log (dmesg) says if it killed it because memory ran out: then lower "
                'train_dataloader.num_workers')
    if isinstance(error, torch.OutOfMemoryError):
        return (f'the GPU has too little memory ({_line(error)}): lower train_dataloader.batch_size, '
                'or set model.chunk_size below it')
    if isinstance(error, MemoryError) or getattr(error, 'errno', None) == errno.ENOMEM \
            or "can't allocate memory" in text:
        return ('memory ran out: lower train_dataloader.num_workers or train_dataloader.batch_size, or set '
                'model.chunk_size below that')
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        what = 'writing to' if error.errno in WRITING else 'reading or writing'
        if error.filename:
            return f'{what} {error.filename} failed ({error.strerror})'
        return (f'{what} a file failed at iteration {iteration} ({error.strerror}); the error does not say '
                f'which{_full_places(runner) if error.errno in WRITING else ""}')
    if runner.world_size == 1 and runner.train_dataloader.num_workers and isinstance(
            error, ConnectionError | EOFError):
        return (f'the connection to another process broke at iteration {iteration} ({_line(error)}): '
                'one that loads images, unless the run talks to others. If the kernel killed it because '
                'memory ran out (dmesg says so), lower train_dataloader.num_workers')
    if runner.world_size > 1 and isinstance(error, RuntimeError | ConnectionError | EOFError):
        timeout = (runner.cfg.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout')
        waited = f' or sent nothing for {timeout} s (env_cfg.dist_cfg.timeout)' if timeout else ''
        return (f'process {runner.rank} of {runner.world_size} stopped at iteration {iteration} '
                f'({_line(error)}): if another one ended{waited}, its own log says why; '
                'MMSIMCLR_TRACEBACK=1 shows where this one stopped')
    return None


def _full_places(runner) -> str:
    """Name those of the places that a run writes to which have no room left."""
    full = []
    for place in (runner.work_dir, SHARED_MEMORY, tempfile.gettempdir()):
        with suppress(OSError):
            if shutil.disk_usage(place).free < 1 << 20:
                full.append(str(place))
    return f'. Full is: {", ".join(full)}' if full else ''


def _line(error: Exception, place: int = 0) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[place][-200:]


def _go_on(runner) -> str:
    if not (last := runner.message_hub.get_info('last_ckpt')):
        return 'No checkpoint was written yet'
    go_on = getattr(runner, 'go_on', None)
    return f'The last whole checkpoint is {last}; ' + (f'to go on: {go_on}' if go_on else
                                                       '--resume goes on from it')


def resume_command(command: str) -> str | None:
    """Return the command that goes on with what a command of train or benchmark began; None for others."""
    if not re.match(r'mmsimclr (train|benchmark) |(python|bash) \S*(train|benchmark)\.(py|sh) ', command):
        return None
    words = shlex.split(command)
    kept = [word for before, word in pairwise(['', *words]) if not word.startswith('--resume') and (
        before != '--resume' or word.startswith('-') or '=' in word)]
    return shlex.join([*kept, '--resume'])


@contextmanager
def plain_errors(interrupted: str = 'interrupted') -> Iterator[None]:
    """End the program with ``error: MESSAGE`` and status 1 at an error that the user can mend.

    Such are every :class:`~mmsimclr.errors.UserError`, also of a process that loads images, and a failed
    operation on a file. Anything else, and everything with ``MMSIMCLR_TRACEBACK=1``, keeps its traceback. At
    Ctrl-C the message is ``interrupted`` and the status 130, as shells count it.
    """
    wants_traceback = os.environ.get('MMSIMCLR_TRACEBACK', '0') != '0'
    try:
        yield
    except KeyboardInterrupt:
        if wants_traceback:
            raise
        print(interrupted, file=sys.stderr)
        sys.exit(130)
    except (UserError, OSError) as error:
        if wants_traceback or not (isinstance(error, UserError) or error.filename is not None):
            raise
        _ignore_ends_of_loaders()
        sys.exit(f'error: {error.explanation if isinstance(error, UserError) else error}')
