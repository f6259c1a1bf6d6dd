"""Locks on files that processes write in turn."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Wait for the lock ``<path>.lock``, and hold it during the block."""
    lock = FileLock(f'{path}.lock')
    try:
        lock.acquire()
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
