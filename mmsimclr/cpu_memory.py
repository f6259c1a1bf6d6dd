"""Memory that a network's next step uses again, on CPUs."""

import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters of glibc's mallopt(3), and the values they reach by themselves in a process that frees large
# blocks. To set one ends that, so all of them are set.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
USUAL = {M_TRIM_THRESHOLD: 64 << 20, M_MMAP_THRESHOLD: 32 << 20, M_MMAP_MAX: 65_536}
HEAP_KEPT = {**USUAL, M_TRIM_THRESHOLD: -1}
ALL_KEPT = {**HEAP_KEPT, M_MMAP_MAX: 0}
# By these a user settles it for the process.
SETTLED_BY = ('MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_MAX_', 'MALLOC_MMAP_THRESHOLD_', 'GLIBC_TUNABLES')

_lock = threading.Lock()
_num_users = {'heap': 0, 'all': 0}


@contextmanager
def kept_memory(device: object = 'cpu', large_blocks: bool = True) -> Iterator[bool]:
    """Within it, the C library keeps the memory of large tensors that are freed for the next ones.

    A step frees the activations that the next one allocates again. By default glibc gives them back to the
    kernel, each block above 32 MiB at once and the end of the heap when 64 MiB of it are free, and the kernel
    clears every page that is touched anew: over a quarter of the time of ResNet-50's forward pass
    (``benchmarks/kept_memory.py``). What is kept is given back at the end; until then the process stays at
    its peak. Forked processes, such as a loader's, keep nothing.

    Nothing happens on another device, with another C library than glibc, or where the environment sets
    malloc's thresholds (``MALLOC_MMAP_THRESHOLD_`` and the like). It may be nested; threads share it.

    Args:
        device: Where the network computes, as torch names it.
        large_blocks: Whether to keep blocks above 32 MiB too. That suits inference, where few live at a time.
            In training they would split the heap between them, and the peak may be half as high again.

    Yields:
        Whether memory is kept.
    """
    library = _glibc() if torch.device(device).type == 'cpu' else None
    if library is None:
        yield False
        return
    _register_forks()
    level = 'all' if large_blocks else 'heap'
    _count(library, level, 1)
    try:
        yield True
    finally:
        _count(library, level, -1)


def is_memory_kept() -> bool:
    """Whether some :func:`kept_memory` of this process is in force."""
    return any(_num_users.values())


def _count(library: ctypes.CDLL, level: str, step: int) -> None:
    with _lock:
        _num_users[level] += step
        _set(library, ALL_KEPT if _num_users['all'] else HEAP_KEPT if _num_users['heap'] else USUAL)
        if not is_memory_kept():
            library.malloc_trim(0)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)


@functools.cache
def _register_forks() -> None:
    os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    global _lock
    _lock = threading.Lock()                                 # another thread may have held it
    if is_memory_kept():
        _num_users.update(heap=0, all=0)
        _set(ctypes.CDLL(None), USUAL)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library; None if it is not glibc, or the user has set its thresholds."""
    if any(name in os.environ for name in SETTLED_BY):
        return None
    try:
        library = ctypes.CDLL(None)
    except TypeError:                                        # Windows
        return None
    return library if hasattr(library, 'gnu_get_libc_version') else None
