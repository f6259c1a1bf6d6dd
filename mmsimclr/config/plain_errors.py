"""One line, not a traceback, for what a user can get wrong."""

import dis
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


@contextmanager
def plain_errors(interrupted: str = 'interrupted') -> Iterator[None]:
    """End the program with ``error: MESSAGE`` and status 1 at an error that explains itself.

    Such are the errors that mmsimclr's own code raises, whose messages are written for the user, and
    operations on files that fail, which name the file, wherever they fail. Anything else keeps its
    traceback, and so does everything with ``MMSIMCLR_TRACEBACK=1`` in the environment.

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
        names_a_file = isinstance(error, OSError) and error.filename is not None
        explained = names_a_file or isinstance(error, FileNotFoundError) or _raised_by_us(error.__traceback__)
        if not explained or wants_traceback:
            raise
        sys.exit(f'error: {error}')


def _raised_by_us(traceback: TracebackType) -> bool:
    """Whether the error comes from a ``raise`` in this package, rather than from an operation that failed."""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get('__name__', '')
    instruction = traceback.tb_frame.f_code.co_code[traceback.tb_lasti]
    return module.partition('.')[0] == 'mmsimclr' and instruction == dis.opmap['RAISE_VARARGS']
