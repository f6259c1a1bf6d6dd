"""Locks on files, for one process at a time."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no flock: two processes must not work on one file there.
    fcntl = None

# Of file systems without locks, such as Lustre as it is mounted by default: the same holds for them.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def locked_file(path: Path, wait: bool = True) -> Iterator[BinaryIO]:
    """Open a file for this process alone, for reading and writing; it is made if missing.

    The holder may remove or rename it before the block ends: a process that was waiting for it then makes
    it anew.

    Args:
        path: The file; its folder exists.
        wait: Whether to wait for a process that has it.

    Yields:
        The file, open in binary mode.

    Raises:
        BlockingIOError: If another process has it, and ``wait`` is False.
    """
    while True:
        # Not 'ab': after a truncation the position must follow the file, not its former end.
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), 'r+b')
        with file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        raise
            try:
                is_current = os.fstat(file.fileno()).st_ino == os.stat(path).st_ino
            except FileNotFoundError:  # The other process has finished: look again.
                is_current = False
            if is_current:
                yield file
                return
