"""Leases on folders: one run at a time works in a folder, also where many machines share it."""

import errno
import hashlib
import json
import os
import platform
import re
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from mmsimclr.errors import InputError, UserError
from mmsimclr.files.reading import parse_json

LEASE = '.lease'
RECORD_BYTES = 4096
NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# Of jobs that a scheduler starts again: its id, and how often it was.
JOBS = (('SLURM_JOB_ID', 'SLURM_RESTART_COUNT'), ('TORCHELASTIC_RUN_ID', 'TORCHELASTIC_RESTART_COUNT'))


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
    machine: str = ''                                   # where the pid means something
    started: str = ''                                   # tells the process from a later one with its pid
    jobs: dict[str, int] = field(default_factory=dict)  # restarts of the scheduler's jobs it belongs to
    heartbeat_s: float = 0.0
    beats: str = ''

    def __str__(self) -> str:
        label = f' ({self.label})' if self.label else ''
        return f'process {self.pid} on {self.host} since {self.since}{label}' if self.pid else \
            'a process that left no readable name'

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None if that cannot be seen from here."""
        jobs = _jobs()
        if any(jobs.get(job, -1) > restarts for job, restarts in self.jobs.items()):
            return True                                 # an earlier life of this very job
        if self.machine != _machine() or os.name == 'nt':       # where os.kill would do so
            return None
        if self.pid == os.getpid() and self.started == _started(self.pid):
            return self.token not in _own               # from before an exec
        try:
            os.kill(self.pid, 0)
        except PermissionError:
            pass                                        # it is there, and another user's
        except (ProcessLookupError, OverflowError):
            return True
        started = _started(self.pid)
        return bool(started and self.started) and started != self.started


class Lease:
    """A folder that this process alone works in; a context manager.

    The folder's file ``.lease`` names the holder: process, host, start time and a random token. A thread
    counts in it every ``heartbeat_s``. A lease is taken over

    * at once, if its process has ended on this machine, or was an earlier life of the same job of Slurm or
      torchrun;
    * if its process is on another machine, after ``expires_s`` without a beat, by the clock of the observer.

    Nothing but the creation of a file that must not exist, and renames, decides who holds it: both are atomic
    on NFS too. Clocks of machines need not agree. A forked child does not hold its parent's lease.

    A process that was stopped for longer than ``expires_s`` can lose its lease. Call :meth:`check` before
    writing.
    """

    def __init__(self, file: Path, holder: Holder, expires_s: float) -> None:
        self.file, self.holder, self.expires_s = file, holder, expires_s
        self._lost, self._over, self._process = False, threading.Event(), os.getpid()

    @classmethod
    def take(cls, path: str | Path, *, heartbeat_s: float = 5.0, expires_s: float = 30.0,
             label: str = '') -> 'Lease':
        """Take the lease of a folder, which is made if it is missing.

        A holder on another machine is watched for a beat, for at most ``expires_s``.

        Args:
            path: The folder, or a file ``*.lease`` in its stead.
            heartbeat_s: Seconds between beats, > 0.
            expires_s: Seconds without a beat after which the lease of a process on another machine may be
                taken, at least twice ``heartbeat_s``.
            label: What the process does, for whoever is refused.

        Raises:
            HeldError: If another process, or another thread, holds it.
        """
        lease, watched = cls._new(path, heartbeat_s, expires_s, label), None
        while other := lease._attempt():
            if other.is_gone() is False or (watched and watched != (other.token, other.beats)):
                raise HeldError(
                    f'{lease.file.parent if lease.file.name == LEASE else lease.file.with_suffix("")} is in '
                    f'use by {other}. Wait for its end, end it, or choose another folder', other)
            if not watched:
                print(f'{lease.file} is of {other}: waiting for a sign of life, at most '
                      f'{max(expires_s, 2 * other.heartbeat_s):g} s', file=sys.stderr)
            watched = other.token, other.beats
            time.sleep(min(0.5, heartbeat_s / 4))
        return lease

    @classmethod
    def try_take(cls, path: str | Path, *, heartbeat_s: float = 5.0, expires_s: float = 30.0,
                 label: str = '') -> 'Lease | None':
        """Take the lease of a folder, or return None at once if another has it.

        A holder on another machine that died is noticed by a call that comes ``expires_s`` after the first.
        """
        lease = cls._new(path, heartbeat_s, expires_s, label)
        return None if lease._attempt() else lease

    @property
    def lost(self) -> bool:
        """Whether another was seen to have taken it over, at the last beat or check."""
        return self._lost

    def is_ours(self) -> bool:
        """Whether this process holds the lease, by a look at its file."""
        if self._over.is_set() or self._process != os.getpid():
            return False
        try:
            found = _read(self.file)
            lost = found.token != self.holder.token if found else self.file.parent.is_dir()
        except (OSError, UserError):
            return not self._lost                       # a disk that fails says nothing about others
        if self._over.is_set():                         # released meanwhile, by another thread
            return False
        self._lost = self._lost or lost
        return not self._lost and found is not None

    def check(self) -> None:
        """Raise LostLeaseError if another run has taken over."""
        if not self.is_ours() and self._lost:
            raise LostLeaseError(
                f'another run has taken over {self.file.parent} (this one was stopped for long, or '
                f'{self.file.name} was removed): this one ends and leaves the files there as they are')

    def release(self) -> None:
        """Give it back; nothing happens if it is lost, given back already, or of a parent process."""
        if self._over.is_set() or self._process != os.getpid():
            return
        self._over.set()
        with suppress(OSError, UserError):              # the folder may be gone
            for _ in range(100):                        # after the right of a killed process, if need be
                found = _read(self.file)
                if not found or found.token != self.holder.token or self._leave(
                        self.file, self.holder.token, self.file.unlink):
                    break
        _own.pop(self.holder.token, None)

    def __enter__(self) -> 'Lease':
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @classmethod
    def _new(cls, path: str | Path, heartbeat_s: float, expires_s: float, label: str) -> 'Lease':
        if not 0 < heartbeat_s <= expires_s / 2:
            raise InputError('heartbeat_s must be > 0 and expires_s at least twice that, got '
                             f'{heartbeat_s} and {expires_s}')
        return cls(_file_of(path), Holder(
            platform.node(), os.getpid(), datetime.now(timezone.utc).isoformat(' ', 'seconds'), label[:200],
            uuid.uuid4().hex, _machine(), _started(os.getpid()), _jobs(), heartbeat_s), expires_s)

    def _attempt(self) -> Holder | None:
        """Take it, or return who has it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        _own[self.holder.token] = self
        taken = False
        try:
            for _ in range(1000):                       # each says that somebody else came first
                other = _read(self.file)
                if other is None:
                    taken = self._place(self.file)
                elif other.is_gone() or _is_silent(self.file, other, self.expires_s):
                    taken = self._leave(self.file, other.token, lambda: os.replace(self._draft, self.file))
                else:
                    return other
                if taken:
                    _watched.pop(self.file, None)
                    self._remove_rests()
                    threading.Thread(target=self._beat, name='lease', daemon=True).start()
                    return None
            return other or Holder('?', 0, '?')
        finally:
            self._draft.unlink(missing_ok=True)
            if not taken:
                _own.pop(self.holder.token, None)

    @property
    def _draft(self) -> Path:
        return self.file.with_name(f'{self.file.name}-{self.holder.token}.new')

    def _place(self, path: Path) -> bool:
        """Put this process's record under a name that must not exist; return whether it is there."""
        if not self._draft.exists():
            record = {key: value for key, value in asdict(self.holder).items() if key != 'beats'}
            try:
                with open(self._draft, 'wb') as file:
                    file.write(json.dumps(record).encode() + b'\n' + _beat_text(0))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:                    # that of a full disk names no file
                error.filename = error.filename or str(self._draft)
                raise
        try:
            os.link(self._draft, path)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            with suppress(FileExistsError), open(path, 'xb') as file:
                file.write(self._draft.read_bytes())
        # Read, since the answer to a link can be lost on NFS.
        found = _read(path)
        return found is not None and found.token == self.holder.token

    def _leave(self, path: Path, token: str, act: Callable[[], object]) -> bool:
        """Call ``act``, which ends the record of ``token`` in a file, unless another process does so.

        The right to end a record is a record itself, under a name that has its token, and so is unique.
        """
        right = path.with_name(f'{path.name}-{token}')
        if not self._place(right):
            other = _read(right)
            if other and (other.is_gone() or _is_silent(right, other, self.expires_s)):
                self._leave(right, other.token, lambda: right.unlink(missing_ok=True))
            else:
                time.sleep(0.001)
            return False
        try:
            found = _read(path)
            if found is None or found.token != token:
                return False
            act()
            return True
        finally:
            right.unlink(missing_ok=True)
            self._draft.unlink(missing_ok=True)

    def _remove_rests(self) -> None:
        """Remove drafts and rights of processes that were killed; they can have no effect on this lease."""
        start = f'{self.file.name}-'
        for name in os.listdir(self.file.parent):
            if name.startswith(start) and self.holder.token not in name:
                with suppress(OSError, UserError):
                    rest = self.file.with_name(name)
                    if not name.endswith('.new') or ((draft := _read(rest)) and draft.is_gone()):
                        rest.unlink()

    def _beat(self) -> None:
        number = 0
        while not self._over.wait(self.holder.heartbeat_s):
            number += 1
            if not self.is_ours():
                if self._lost:
                    return
                continue
            with suppress(OSError):                     # the next one may come through
                # In the same file: another's lease that takes its place meanwhile is not touched.
                descriptor = os.open(self.file, os.O_RDWR)
                try:
                    content = os.read(descriptor, RECORD_BYTES)
                    if _parse(content).token == self.holder.token:
                        os.lseek(descriptor, content.index(b'\n') + 1, os.SEEK_SET)
                        os.write(descriptor, _beat_text(number))
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)


@contextmanager
def leased(path: str | Path, label: str = '') -> Iterator[Lease]:
    """Hold the lease of a folder during the block; share it where this process has it already."""
    file = _file_of(path)
    for lease in [*_own.values()]:
        if lease.file == file and lease.is_ours():
            yield lease
            return
    with Lease.take(path, label=label) as lease:
        yield lease


# Leases of this process by token, and what it has seen of others: token and beats, and since when.
_own: dict[str, Lease] = {}
_watched: dict[Path, tuple[tuple[str, str], float]] = {}
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_own.clear)


def _file_of(path: str | Path) -> Path:
    path = Path(os.path.realpath(path))
    return path if path.suffix == LEASE and not path.is_dir() else path / LEASE


def _is_silent(file: Path, holder: Holder, expires_s: float) -> bool:
    """Whether a process that may be alive on another machine has given no sign of it for long enough."""
    if holder.is_gone() is False:
        return False
    state, now = (holder.token, holder.beats), time.monotonic()
    if _watched.get(file, (None,))[0] != state:
        _watched[file] = state, now
    return now - _watched[file][1] >= max(expires_s, 2 * holder.heartbeat_s)


def _read(file: Path) -> Holder | None:
    """Return the holder that a file names; None if there is no file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_NOFOLLOW', 0))
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError(f'{file} is no lease, but a folder or a device: move it away')
        return _parse(os.read(descriptor, RECORD_BYTES))
    finally:
        os.close(descriptor)


def _parse(content: bytes) -> Holder:
    """Return the holder that a record names; one of no process if it is no record."""
    line, _, beats = content.partition(b'\n')
    try:
        record = parse_json(line, 'a lease', 'a lease')
        kinds = dict(host=str, pid=int, since=str, label=str, token=str, machine=str, started=str, jobs=dict)
        if all(isinstance(record[key], kind) for key, kind in kinds.items()) and record['pid'] > 0 \
                and re.fullmatch('[0-9a-f]{32}', record['token']):
            return Holder(**{**record, 'heartbeat_s': min(float(record['heartbeat_s']), 3600.0),
                             'jobs': {str(job): int(count) for job, count in record['jobs'].items()}},
                          beats=beats.decode('ascii', 'replace'))
    except (ValueError, TypeError, KeyError):
        pass
    # Cut off by a power failure, or edited: it is taken over if it does not change.
    return Holder('?', 0, '?', token=hashlib.sha256(content).hexdigest()[:32])


def _beat_text(number: int) -> bytes:
    return f'{number:012d}\n'.encode()


def _jobs() -> dict[str, int]:
    """Return how often the scheduler has restarted the jobs that this process belongs to, by their ids."""
    jobs = {}
    for name, restarts in JOBS:
        if os.environ.get(name, 'none') not in ('', 'none'):
            count = os.environ.get(restarts, '')
            jobs[f'{name} {os.environ[name]}'[:200]] = int(count) if count.isdigit() else 0
    return jobs


def _machine() -> str:
    """Return a name for where a process id means the same process: a start of a machine, and a container."""
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()
        return f'{boot} {os.readlink("/proc/self/ns/pid")}'
    except OSError:
        return f'{platform.node()} {uuid.getnode()}'


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; 'ended' if it is a zombie; '' if unknown."""
    try:
        # proc(5): the name in parentheses may have spaces; state is field 3 and starttime field 22.
        fields = Path(f'/proc/{pid}/stat').read_bytes().rpartition(b')')[2].split()
    except OSError:
        return ''
    return 'ended' if fields[0] in (b'Z', b'X') else fields[19].decode()
