"""One line, not a traceback, for what a user can get wrong."""

import dis
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

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
