"""Leases on folders: one run at a time works in a folder, also where many machines share it."""

import json
import os
import platform
import re
import stat
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from mmsimclr.errors import InputError, UserError
from mmsimclr.files.reading import parse_json

try:
    import fcntl
except ImportError:                                     # Windows
    fcntl = None

LEASE = '.lease'
RECORD_BYTES = 4096
BEGINNING = b'{"host"'                                  # of our records, also of torn and edited ones


class HeldError(UserError, RuntimeError):
    """Another run works in the folder; ``holder`` says which."""

    def __init__(self, message: str, holder: 'Holder | None' = None) -> None:
        super().__init__(message)
        self.holder = holder


class LostLeaseError(UserError, RuntimeError):
    """Another run has taken over the folder, so this one must write no more."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease, as its file says."""

    host: str
    pid: int
    since: str                                          # by the clock of that machine
    label: str = ''
    token: str = ''
    machine: str = ''                                   # which start of which machine
    heartbeat_s: float = 0.0
    job: str = ''                                       # of Slurm
    restart: int = 0                                    # which start of the job

    def __str__(self) -> str:
        label = f' ({self.label})' if self.label else ''
        return f'process {self.pid} on {self.host} since {self.since}{label}' if self.pid else \
            'a process that left no readable name'


class Lease:
    """A folder that this process alone works in; a context manager.

    The folder's file ``.lease`` names the holder, who keeps it locked (flock). So a lease ends with its
    process. Where a file system has no locks, or keeps them to each machine, beats count: a thread of the
    holder writes one every ``heartbeat_s``, and after ``expires_s`` without any, by the observer's clock,
    another machine takes the lease over. A holder that was stopped for so long loses it there. Call
    :meth:`check` before writing. A forked child does not hold its parent's lease.
    """

    def __init__(self, file: Path, holder: Holder, descriptor: int) -> None:
        self.file, self.holder, self._descriptor = file, holder, descriptor
        #: Whether another was seen to have taken it over, at the last beat or check.
        self.lost = False
        self._over, self._process = threading.Event(), os.getpid()

    @classmethod
    def take(cls, path: str | Path, *, heartbeat_s: float = 5.0, expires_s: float = 30.0, label: str = '',
             waits: bool = True) -> 'Lease':
        """Take the lease of a folder, which is made if it is missing.

        Args:
            path: The folder, or a file ``*.lease`` in its stead.
            heartbeat_s: Seconds between beats, > 0.
            expires_s: Seconds without a beat after which the lease of a process on another machine may be
                taken, at least twice ``heartbeat_s``.
            label: What the process does, for whoever is refused.
            waits: Whether to watch for that time if a holder on another machine left no lock.

        Raises:
            HeldError: If another process, or another thread, holds it.
        """
        if not 0 < heartbeat_s <= expires_s / 2:
            raise InputError('heartbeat_s must be > 0 and expires_s at least twice that, got '
                             f'{heartbeat_s} and {expires_s}')
        holder = Holder(platform.node(), os.getpid(), datetime.now(timezone.utc).isoformat(' ', 'seconds'),
                        label[:200], uuid.uuid4().hex, _machine(), heartbeat_s, *_job())
        file, watched, until = _file_of(path), None, 0.0
        file.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor, is_locked = _open_locked(file)
            try:
                content = os.pread(descriptor, RECORD_BYTES, 0).strip(b'\0')
                other = _parse(content)
                if other and not other.pid and not content.startswith(BEGINNING):
                    raise InputError(f'{file} is no lease of mmsimclr: move it away')
                ended = other is None or (is_locked and other.machine == holder.machine) or (
                    # Slurm ends a job everywhere before it starts it again.
                    holder.job == other.job != '' and holder.restart > other.restart)
                silent = watched == content and time.monotonic() >= until
                if is_locked is not False and (ended or silent):
                    return cls(file, holder, descriptor)._begin()
                if is_locked is False or not waits or watched not in (None, content):
                    other = other or _UNKNOWN
                    what = file.parent if file.name == LEASE else file.with_suffix('')
                    raise HeldError(f'{what} is in use by {other}. Wait for its end, end it, or choose '
                                    'another name', other)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            if watched is None:
                watched, wait_s = content, max(expires_s, 2 * other.heartbeat_s)
                until = time.monotonic() + wait_s
                print(f'{file} is of {other}: waiting for a sign of life, at most {wait_s:g} s',
                      file=sys.stderr)
            time.sleep(min(0.5, heartbeat_s / 4))

    def _begin(self) -> 'Lease':
        """Write who holds the locked file, and begin to beat."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(asdict(self.holder)).encode() + b'\n' + _beat_text(0), 0)
            os.fsync(self._descriptor)
        except OSError as error:                        # that of a full disk names no file
            self.file.unlink(missing_ok=True)
            error.filename = error.filename or str(self.file)
            raise
        _own.append(self)
        threading.Thread(target=self._beat, name='lease', daemon=True).start()
        return self

    def is_ours(self) -> bool:
        """Whether this process holds the lease, by a look at its file."""
        if self._over.is_set() or self._process != os.getpid():
            return False
        try:
            token = _parse(self.file.read_bytes()).token
            lost = token != self.holder.token
        except FileNotFoundError:
            token, lost = None, self.file.parent.is_dir()
        except (OSError, AttributeError):
            return not self.lost                        # a disk that fails says nothing about others
        if self._over.is_set():                         # released meanwhile, by another thread
            return False
        self.lost = self.lost or lost
        return not self.lost and token is not None

    def check(self) -> None:
        """Raise LostLeaseError if another run has taken over."""
        if not self.is_ours() and self.lost:
            raise LostLeaseError(
                f'another run has taken over {self.file.parent} (this one was stopped for long, or '
                f'{self.file.name} was removed): this one ends and leaves the files there as they are')

    def release(self) -> None:
        """Give it back; nothing happens if it is lost, given back already, or of a parent process."""
        if self._over.is_set() or self._process != os.getpid():
            return
        if self.is_ours():
            with suppress(OSError):                     # the folder may be gone
                os.unlink(self.file)
        self._over.set()
        _own.remove(self)
        os.close(self._descriptor)

    def __enter__(self) -> 'Lease':
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _beat(self) -> None:
        number = 0
        while not self._over.wait(self.holder.heartbeat_s) and not self.lost:
            number += 1
            if self.is_ours():
                # In the same file: another's lease that takes its place meanwhile is not touched.
                with suppress(OSError), open(self.file, 'r+b', buffering=0) as file:
                    content = file.read(RECORD_BYTES)
                    if (found := _parse(content)) and found.token == self.holder.token:
                        file.seek(content.index(b'\n') + 1)
                        file.write(_beat_text(number))
                        os.fsync(file.fileno())


@contextmanager
def leased(path: str | Path, label: str = '') -> Iterator[Lease]:
    """Hold the lease of a folder during the block; share it where this process has it already."""
    file = _file_of(path)
    for lease in [*_own]:
        if lease.file == file and lease.is_ours():
            yield lease
            return
    with Lease.take(path, label=label) as lease:
        yield lease


_UNKNOWN = Holder('?', 0, '?')
_own: list[Lease] = []                                  # of this process


def _let_go() -> None:
    """Close a forked child's copies of files that its parent has locked, which would stay locked."""
    for lease in _own:
        os.close(lease._descriptor)
    _own.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)


def _file_of(path: str | Path) -> Path:
    path = Path(os.path.realpath(path))
    return path if path.suffix == LEASE and not path.is_dir() else path / LEASE


def _open_locked(file: Path) -> tuple[int, bool | None]:
    """Open a lease's file, made if missing; return whether it is locked for us, None without locks."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_NOFOLLOW', 0)
    while True:
        descriptor = os.open(file, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError(f'{file} is no lease, but a pipe or a device: move it away')
            is_locked = _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor, is_locked
        except FileNotFoundError:                       # given back meanwhile, so it is another file now
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (BlockingIOError, PermissionError):
        return False
    except OSError:                                     # file systems without locks
        return None


def _parse(content: bytes) -> Holder | None:
    """Return the holder that a record names, of no process if it is no record; None if there is none."""
    if not content:
        return None
    try:
        record = {'job': '', 'restart': 0, **parse_json(content.partition(b'\n')[0], 'a lease', 'a lease')}
        kinds = dict(host=str, pid=int, since=str, label=str, token=str, machine=str, job=str, restart=int)
        if all(isinstance(record[key], kind) for key, kind in kinds.items()) and record['pid'] > 0 \
                and re.fullmatch('[0-9a-f]{32}', record['token']):
            return Holder(**{key: record[key] for key in kinds},
                          heartbeat_s=min(float(record['heartbeat_s']), 3600.0))
    except (ValueError, TypeError, KeyError):
        pass
    return _UNKNOWN                                     # edited: it is taken over if it does not change


def _beat_text(number: int) -> bytes:
    return f'{number:012d}\n'.encode()


def _job() -> tuple[str, int]:
    """Return the job of Slurm that this process is of, and how often Slurm has started it again."""
    restart = os.environ.get('SLURM_RESTART_COUNT', '')
    return os.environ.get('SLURM_JOB_ID', ''), int(restart) if restart.isdecimal() else 0


def _machine() -> str:
    """Return a name for where locks are seen at once: a start of a machine."""
    try:
        return Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()
    except OSError:
        return f'{platform.node()} {uuid.getnode()}'
