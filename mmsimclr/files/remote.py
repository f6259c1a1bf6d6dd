"""Files of object stores and web servers: lists, and ranges read with patience, ahead, and kept on disk."""

import hashlib
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmsimclr.errors import InputError, MachineError, MissingFileError, needing
from mmsimclr.files.verified import atomic_writer

ADDRESS = re.compile(r'(s3|gs|https?)://')
ATTEMPTS, FIRST_WAIT_S = 6, 0.2                 # waits double: 6 s in all, and what the library itself waits
TIMEOUT = '60s'                                 # of one request
NUM_THREADS = 16                                # requests of a process at a time
Range = tuple[str, int, int | None]


class RemoteError(MachineError):
    """A store or a server could not be reached, or refused; it is no fault of one file."""


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is an address that :class:`RemoteFolder` reads."""
    return bool(ADDRESS.match(str(path)))


class RemoteFolder:
    """What lies below an address: ``s3://bucket/folder``, ``gs://...``, ``http(s)://...``.

    Credentials, region and endpoint of a store come from the environment, as its own tools take them
    (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``, ...).
    Ranges are kept below ``MMSIMCLR_DATA_CACHE`` (``~/.cache/mmsimclr/data``), at most
    ``MMSIMCLR_DATA_CACHE_GB`` of a folder (0): those at its start, since an epoch reads each once, in any
    order, so that to replace one by another gains nothing.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip('/')
        self._spans: dict[str, tuple[int, int]] = {}                 # first and last byte, of all together
        self._kept: Path | None = None
        self._coming: dict[Range, Future] = {}                       # in processes of loaders alone

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file, by its name below the address, in the order of the names.

        Raise InputError for a web server, which cannot say what it has.
        """
        if self.address.startswith('http'):
            raise InputError(f'{self.address}: a web server does not list its files')
        return dict(sorted(_patiently(_list, self.address)))

    def keep(self, sizes: Mapping[str, int], version: str = '') -> None:
        """Keep ranges of these files on disk; another ``version`` is kept elsewhere."""
        start, self._spans = 0, {}
        for name, size in sizes.items():
            self._spans[name] = start, start + size
            start += size
        identity = hashlib.sha256(f'{self.address}\n{version}\n{sorted(sizes.items())}'.encode()).hexdigest()
        folder = os.environ.get('MMSIMCLR_DATA_CACHE') or Path.home() / '.cache/mmsimclr/data'
        self._kept = Path(folder) / identity[:32]

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file, or all from ``start``.

        Raises:
            MissingFileError: If there is no such file, or it is shorter.
            RemoteError: If the store or the server does not answer, or refuses.
        """
        coming = self._coming.pop((name, start, length), None)
        return coming.result() if coming else self._read(name, start, length)

    def read_ahead(self, ranges: Iterable[Range]) -> None:
        """Begin to read ranges that will be asked for next, several at a time."""
        if _is_of_a_loader():
            for wanted in ranges:
                if wanted not in self._coming:
                    self._coming[wanted] = _threads(os.getpid()).submit(self._read, *wanted)

    def _read(self, name: str, start: int, length: int | None) -> bytes:
        kept = self._place(name, start, length)
        if kept is not None and kept.is_file() and (length is None or kept.stat().st_size == length):
            return kept.read_bytes()
        data = _patiently(_get, self.address, name, start, length)
        if length is not None and len(data) != length:
            raise MissingFileError(f'{self.address}/{name} ends before {start + length} bytes')
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_writer(kept) as file:
                file.write(data)
        return data

    def _place(self, name: str, start: int, length: int | None) -> Path | None:
        """Return where a range is kept; None if it is not to be."""
        limit = 1e9 * float(os.environ.get('MMSIMCLR_DATA_CACHE_GB') or 0)
        if name not in self._spans:
            return None
        first, last = self._spans[name]
        if (last if length is None else first + start + length) > limit:
            return None
        return self._kept / hashlib.sha256(name.encode()).hexdigest()[:32] / f'{start}-{length}'


def _patiently(function: Callable, address: str, *args: Any) -> Any:
    """Call a function on a store; try again where it fails for a while."""
    # The threads of the stores' library do not live on in forked processes. So in a process that may fork,
    # and that is any but a loader's, a child does the reading.
    for attempt in range(ATTEMPTS):
        try:
            return function(address, *args) if _is_of_a_loader() else _child(os.getpid()).submit(
                function, address, *args).result()
        except (FileNotFoundError, InputError):
            raise
        except (OSError, BrokenExecutor) as error:
            if isinstance(error, BrokenExecutor):               # Ctrl-C is for it too
                _child.cache_clear()
            if attempt == ATTEMPTS - 1:
                name = f'{address}/{args[0]}' if args else address
                raise RemoteError(f'{name} could not be read in {ATTEMPTS} attempts: {error}') from None
            time.sleep(FIRST_WAIT_S * 2 ** attempt * random.Random().uniform(0.5, 1.5))


def _is_of_a_loader() -> bool:
    """Whether this is a process of torch's loader, which forks no other."""
    torch_data = sys.modules.get('torch.utils.data')
    return torch_data is not None and torch_data.get_worker_info() is not None


@lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(NUM_THREADS, 'reading ahead')


@lru_cache(maxsize=1)
def _child(process: int) -> ProcessPoolExecutor:
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    return ProcessPoolExecutor(1, multiprocessing.get_context(method), signal.signal,
                               (signal.SIGINT, signal.SIG_IGN))


@lru_cache(maxsize=8)
def _store(address: str, process: int) -> Any:
    with needing('stores', address):
        from obstore import store
    options = {'timeout': TIMEOUT, 'connect_timeout': '10s'}
    if address.startswith('http:') or os.environ.get('AWS_ENDPOINT_URL', '').startswith('http:'):
        options['allow_http'] = True
    return store.from_url(address, client_options=options, retry_config={'max_retries': 2})


def _list(address: str) -> list[tuple[str, int]]:
    return _asked(address, lambda store, obstore: [
        (each['path'], each['size']) for page in obstore.list(store) for each in page])


def _get(address: str, name: str, start: int, length: int | None) -> bytes:
    if length is None:
        return _asked(address, lambda store, obstore: bytes(
            obstore.get(store, name).bytes())[start:], name)
    return _asked(address, lambda store, obstore: bytes(
        obstore.get_range(store, name, start=start, length=length)), name)


def _asked(address: str, ask: Callable[[Any, Any], Any], name: str = '') -> Any:
    """Return an answer of a store; errors, of which the library has many, become those of files."""
    store = _store(address, os.getpid())
    import obstore
    try:
        return ask(store, obstore)
    except FileNotFoundError:
        raise MissingFileError(f'no file at {address}/{name}') from None
    except Exception as error:
        lines = str(error).strip().splitlines() or ['']
        raise OSError(f'{type(error).__name__}: {lines[0]:.300}') from None
