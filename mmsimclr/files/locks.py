"""Locks on files, for one process at a time."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def locked_file(path: Path, wait: bool = True) -> Iterator[None]:
    """Lock ``<path>.lock`` during the block; raise BlockingIOError if it is taken and ``wait`` is False."""
    lock = FileLock(f'{path}.lock')
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise BlockingIOError(errno.EWOULDBLOCK, 'another process has this file', str(path)) from None
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOLCK):            # file systems without locks
            raise
    try:
        yield
    finally:
        # Whoever waits notices that the file he has locked is no longer there (st_nlink is 0), and opens the
        # new one: filelock >= 4.1, _unix.py.
        with suppress(OSError):                     # Windows keeps files that are open
            os.unlink(lock.lock_file)
        lock.release()
