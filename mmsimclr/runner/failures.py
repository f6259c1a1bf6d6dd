"""Failures of a run, explained in one line."""

import dis
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch

from mmsimclr.errors import UserError
from mmsimclr.runner.checkpointing import SaveError

DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE)
LOADER_DIED = re.compile(r'DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) (.*)', re.DOTALL)
# What gloo, NCCL and torch's store say of a peer that is gone, most of it in a plain RuntimeError.
PEER_GONE = re.compile(
    r'gloo/transport|pair closure|NCCL|ProcessGroup|Timed out waiting|client socket has'
    r'|(Connect|Read|Write|Socket|Wait) timeout|Connection (closed|reset) by peer|Connection refused'
    r'|Connection was likely closed|Remote peer closed|Socket closed|Broken pipe|No route to host'
    r'|Network is unreachable|Host is down', re.IGNORECASE)
NO_MEMORY = re.compile(r"can't allocate memory|Caught MemoryError|not enough memory", re.IGNORECASE)


class RunError(UserError, RuntimeError):
    """A run ended because of the machine it ran on; the message says what to do."""


@contextmanager
def explained_failures(runner) -> Iterator[None]:
    """Raise a :class:`RunError` in place of errors from the depths that have a known cause outside the model.

    Args:
        runner: Names the last whole checkpoint, and the timeout of its process group.
    """
    try:
        yield
    except (RunError, SaveError) as error:
        raise type(error)(f'{error}. {_go_on(runner)}') from error
    except (RuntimeError, MemoryError, OSError, EOFError) as error:
        if (reason := _reason(error, runner)) is None:
            raise
        raise RunError(f'{reason}. {_go_on(runner)}') from error


def _reason(error: BaseException, runner) -> str | None:
    text = str(error)
    found = LOADER_DIED.search(text)
    # A pipe to a loader process that broke before torch noticed; those of ranks break with a RuntimeError.
    if found or (isinstance(error, ConnectionError | EOFError) and runner.train_dataloader.num_workers):
        how = found[1].splitlines()[0] if found else 'killed'
        return (f'a process that loads images ended at iteration {runner.iter + 1} ({how}): '
                'killed usually means that memory ran out; lower train_dataloader.num_workers, or enlarge '
                '/dev/shm')
    if isinstance(error, torch.OutOfMemoryError):
        return (f'the GPU has too little memory ({text.splitlines()[0]}): lower train_dataloader.batch_size, '
                'or set model.chunk_size below it')
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        return ('memory ran out: lower train_dataloader.num_workers or train_dataloader.batch_size, or set '
                'model.chunk_size below that')
    # Without strerror it is ours, of an image, and says more.
    if isinstance(error, OSError) and error.strerror and error.errno in DISK_ERRNOS:
        return f'writing to {error.filename or runner.work_dir} failed ({error.strerror})'
    if runner.world_size > 1 and _peer_is_gone(error):
        timeout = (runner.cfg.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout')
        waited = f', or sent nothing for {timeout} s (env_cfg.dist_cfg.timeout)' if timeout else ''
        return (f'process {runner.rank} of {runner.world_size} lost another one at iteration '
                f'{runner.iter + 1}: it ended or its machine is gone{waited}; its own log says why '
                f'({(text.splitlines() or [type(error).__name__])[0][-200:]})')
    return None


def _peer_is_gone(error: BaseException) -> bool:
    return isinstance(error, torch.distributed.DistError) or PEER_GONE.search(str(error)) is not None


def _go_on(runner) -> str:
    last = runner.message_hub.get_info('last_ckpt')
    return (f'The last whole checkpoint is {last}; --resume goes on from it' if last else
            'No checkpoint was written yet')


PACKAGE = str(Path(__file__).parents[1])
# How torch reports what a loader's process raised: with its traceback as text.
OF_WORKER = re.compile(r'Caught \w+ in DataLoader worker process \d+\.\nOriginal Traceback')
FRAME = re.compile(r'^  File "(?P<file>.+)", line \d+, in .+\n +(?P<source>.*)$', re.MULTILINE)
RAISED = re.compile(r'^[\w.]+(Error|Exception): (?P<message>.*)\Z', re.MULTILINE | re.DOTALL)


@contextmanager
def plain_errors(interrupted: str = 'interrupted') -> Iterator[None]:
    """End the program with ``error: MESSAGE`` and status 1 at an error that explains itself.

    Such are the errors that mmsimclr's own code raises, whose messages are written for the user, in the
    loader's processes too, and operations on files that fail, which name the file, wherever they fail.
    Anything else keeps its traceback, and so does everything with ``MMSIMCLR_TRACEBACK=1`` in the
    environment.

    Args:
        interrupted: What is said at Ctrl-C, where the status is 130, as shells count it.
    """
    wants_traceback = os.environ.get('MMSIMCLR_TRACEBACK', '0') != '0'
    try:
        yield
    except KeyboardInterrupt:
        if wants_traceback:
            raise
        print(interrupted, file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        message = _explanation(error)
        if message is None or wants_traceback:
            raise
        _expect_no_children()
        sys.exit(f'error: {message}')


def _expect_no_children() -> None:
    """Keep torch from reporting, in the middle of the end, that a loader's process was killed."""
    if hasattr(signal, 'SIGCHLD') and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _explanation(error: Exception) -> str | None:
    """Return the message of an error that explains itself; None for another."""
    if OF_WORKER.match(str(error)):
        return _explanation_of_worker(str(error))
    names_a_file = isinstance(error, OSError) and error.filename is not None
    explained = names_a_file or isinstance(error, FileNotFoundError) or _raised_by_us(error.__traceback__)
    return str(error) if explained else None


def _explanation_of_worker(text: str) -> str | None:
    *_, frame = FRAME.finditer(text)
    raised = RAISED.search(text, frame.end())
    is_ours = frame['file'].startswith(PACKAGE) and frame['source'].startswith('raise ')
    return raised['message'].strip() if is_ours and raised else None


def _raised_by_us(traceback: TracebackType) -> bool:
    """Whether the error comes from a ``raise`` in this package, rather than from an operation that failed."""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get('__name__', '')
    instruction = traceback.tb_frame.f_code.co_code[traceback.tb_lasti]
    return module.partition('.')[0] == 'mmsimclr' and instruction == dis.opmap['RAISE_VARARGS']
