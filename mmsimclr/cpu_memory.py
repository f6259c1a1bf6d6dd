"""Memory of large tensors on CPUs, kept from step to step."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4        # of glibc's mallopt(3)
_library = ctypes.CDLL(None) if os.name == 'posix' else None
_lock = threading.Lock()
_users = {'heap': 0, 'all': 0}


@contextmanager
def kept_memory(device: object = 'cpu', large_blocks: bool = True) -> Iterator[bool]:
    """Keep freed memory for the next tensors, and return it at the end; yield whether it is kept.

    The kernel would clear it anew in each step, a quarter of ResNet-50's forward pass. Nothing is kept on
    another ``device``, without glibc, in forks, or with ``MMSIMCLR_KEEP_MEMORY=0`` in the environment.
    ``large_blocks`` (over 32 MiB) suit inference; in training they would split the heap.
    """
    wanted = torch.device(device).type == 'cpu' and os.environ.get('MMSIMCLR_KEEP_MEMORY', '1') != '0'
    if not wanted or not hasattr(_library, 'gnu_get_libc_version'):
        yield False
        return
    level = 'all' if large_blocks else 'heap'
    _count(level, 1)
    try:
        yield True
    finally:
        _count(level, -1)


def is_memory_kept() -> bool:
    """Whether some :func:`kept_memory` of this process is in force."""
    return any(_users.values())


def _count(level: str, step: int) -> None:
    with _lock:
        _users[level] += step
        # To set one ends glibc's own adjustment of all; the usual values are what that reaches.
        _library.mallopt(TRIM_THRESHOLD, -1 if is_memory_kept() else 64 << 20)
        _library.mallopt(MMAP_THRESHOLD, 32 << 20)
        _library.mallopt(MMAP_MAX, 0 if _users['all'] else 65_536)
        if not is_memory_kept():
            _library.malloc_trim(0)


def _in_child() -> None:
    _lock.release()
    if is_memory_kept():
        _users.update(heap=0, all=0)
        _count('all', 0)


if _library:
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_in_child)
