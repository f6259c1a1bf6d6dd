"""Files fetched over HTTP: resumed where they broke off, and verified; archives unpacked."""

import errno
import http.client
import json
import lzma
import os
import queue
import re
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from filelock import FileLock

from mmsimclr.errors import InputError, UserError
from mmsimclr.files.reading import check_fields, read_json
from mmsimclr.files.verified import difference, sync_folder


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


# Keeps a malicious archive from filling the disk; the files taken from archives have 31 MB at most.
MAX_MEMBER_BYTES = 64_000_000


def unpack(archive: Path, folder: Path, file_names: Sequence[str]) -> None:
    """Write the members of a tar archive that have one of ``file_names`` into an existing folder, flat.

    Raise InputError if the archive cannot be read to its end, or a member would lie or point outside of the
    folder, is a device, or has more than 64 MB.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name.replace('\\', '/'))
                tarfile.data_filter(member.replace(name=str(name)), folder)
                if name.is_absolute():
                    raise tarfile.AbsolutePathError(member)
                if member.isreg() and name.name in file_names:
                    if member.size > MAX_MEMBER_BYTES:
                        raise InputError(f'{archive} is refused: its member {member.name!r} has '
                                         f'{member.size} bytes')
                    tar.extract(member.replace(name=name.name), folder, set_attrs=False, filter='data')
    except tarfile.FilterError as error:
        raise InputError(f'{archive} is refused: its member {error.tarinfo.name!r} is a device, or lies or '
                         'points outside of the folder it is unpacked to') from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if getattr(error, 'errno', None) is not None:
            raise                                   # no fault of the archive: a full disk, missing rights
        raise InputError(f'{archive} is truncated or no tar archive: {error} '
                         f'({archive.stat().st_size} bytes)') from error


CHUNK_BYTES = 1 << 16
RANGE = re.compile('bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18})')
MAX_BYTES = 20_000_000_000               # no checkpoint or archive that is fetched comes near
MAX_SECONDS = 24 * 3600.0
Progress = Callable[[int, int | None], None]


class DownloadError(UserError, OSError):
    """A file could not be fetched, or what came is not what was expected."""


class UnreachableError(DownloadError):
    """The server could not be reached, or every attempt ended early: nothing is known about the file."""


class _Interrupted(Exception):
    """The transfer ended early; what has arrived is kept, and another attempt may finish it."""


class _Changed(_Interrupted):
    """The partial file is not of the file that the server has now."""


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections to web addresses only; urllib would follow one to ftp:// too."""

    def redirect_request(self, request, response, code, reason, headers, url):
        if not re.match(r'https?://', url):
            raise DownloadError(f'{request.full_url} redirects to {url!r}, which is no web address')
        return super().redirect_request(request, response, code, reason, headers, url)


_open = urllib.request.build_opener(_WebRedirects).open


def download(url: str, path: str | Path, *, hashes: Mapping[str, str] | None = None,
             size: int | None = None, timeout: float = 30.0, attempts: int = 4,
             retry_wait_s: float = 1.0, progress: Progress | None = None,
             max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> Path:
    """Fetch ``url`` into ``path``, going on where an earlier attempt stopped; return ``path``.

    Bytes arrive in ``<path>.part``, which is renamed when it is verified. It is begun anew unless the server
    confirms, by ETag or Last-Modified and size, that the file is the same. Processes take turns.

    Args:
        url: An ``http://`` or ``https://`` address.
        path: Where the file goes; missing parent folders are made.
        hashes: Expected digests, as of :func:`~mmsimclr.files.difference`. A file that has them already (and
            ``size``) is not fetched again.
        size: Expected size in bytes.
        timeout: Seconds without a byte after which a connection counts as dead, > 0.
        attempts: Number of attempts, >= 1. A final refusal (404, unknown host) ends the download at once.
        retry_wait_s: Seconds before the second attempt; doubled before each further one.
        progress: Called with (bytes present, total bytes or None) at the start and as the file grows.
        max_bytes: Bytes after which a download ends, where ``size`` is not given.
        max_seconds: Seconds after which all attempts together end, however steadily bytes come.

    Raises:
        UnreachableError: If the server cannot be reached, the last attempt ended early or time is up.
        DownloadError: If the server refuses the file, it is not the expected one, or the disk has no room.
    """
    if not re.match(r'https?://', url):
        raise InputError(f'url must begin with http:// or https://, got {url!r}')
    if timeout <= 0 or attempts < 1:
        raise InputError(f'timeout must be > 0 and attempts >= 1, got {timeout} and {attempts}')
    path, deadline = Path(path), time.monotonic() + max_seconds
    part, origin_file = (path.with_name(path.name + ending) for ending in ('.part', '.part.json'))
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(part):
        try:
            if (hashes or size) and path.is_file() and not difference(path, hashes, size):
                part.unlink(missing_ok=True)
                return path
            for attempt in range(attempts):
                try:
                    _fetch(url, part, origin_file, timeout, progress or (lambda done, total: None), size,
                           max_bytes, deadline)
                    break
                except _Interrupted as interruption:
                    if time.monotonic() > deadline:
                        raise UnreachableError(
                            f'{url} did not come in {max_seconds:g} s: {interruption}. What arrived is in '
                            f'{part}; another run goes on from there') from interruption
                    if isinstance(interruption, _Changed):
                        part.write_bytes(b'')
                    if attempt == attempts - 1:
                        kept = f'. What arrived is in {part}; another run goes on from there'
                        raise UnreachableError(
                            f'{url} could not be fetched in {attempts} attempts: {interruption}'
                            f'{kept if part.stat().st_size else ""}') from interruption
                    time.sleep(retry_wait_s * 2 ** attempt)
            if wrong := difference(part, hashes, size):
                part.unlink()
                raise DownloadError(f'{url} sent a wrong file: {wrong}. It has been removed')
            os.replace(part, path)
            sync_folder(path.parent)
        finally:
            if not part.exists() or not part.stat().st_size:
                part.unlink(missing_ok=True)
                origin_file.unlink(missing_ok=True)
    return path


def _fetch(url: str, part: Path, origin_file: Path, timeout: float, progress: Progress, size: int | None,
           max_bytes: int, deadline: float) -> None:
    """Append to ``part`` what is missing of ``url``; start it anew where it cannot be continued."""
    part.touch()
    received, origin = part.stat().st_size, _read_origin(origin_file, url)
    if received and origin.get('total') == received:
        return                              # stopped after the last byte and before the check
    # A response compressed on the way would have other byte ranges and sizes.
    headers = {'User-Agent': 'mmsimclr', 'Accept-Encoding': 'identity'}
    if received and origin.get('validator'):
        headers |= {'Range': f'bytes={received}-', 'If-Range': origin['validator']}
    with _in_time(deadline, lambda: _request(url, headers, timeout)) as response, open(part, 'ab') as file:
        etag, length = response.headers.get('ETag', ''), response.headers.get('Content-Length', '')
        # RFC 9110, 13.1.5: a weak ETag must not be used in If-Range.
        validator = response.headers.get('Last-Modified', '') if etag.startswith('W/') or not etag else etag
        if response.status == 206:
            stated = RANGE.fullmatch(response.headers.get('Content-Range', ''))
            total = int(stated[2]) if stated and int(stated[1]) == received else None
            if total is None or origin.get('total') not in (None, total) or \
                    validator not in ('', origin.get('validator')):
                raise _Changed('the file on the server has changed; starting again')
        else:
            received, total = 0, int(length) if re.fullmatch('[0-9]{1,18}', length) else None
            file.truncate(0)
            origin_file.write_text(json.dumps({'url': url, 'validator': validator, 'total': total}))
        limit = _limit(url, part, received, total, size, max_bytes)
        progress(received, total)
        while piece := _next_piece(response, received, timeout):
            if received + len(piece) > limit:
                file.truncate(0)
                raise DownloadError(f'{url} sent a wrong file, or one of unknown size that does not fit on '
                                    f'the disk: it goes on after {limit:,} bytes. It has been removed')
            received += file.write(piece)
            progress(received, total)
            if time.monotonic() > deadline:
                raise _Interrupted(f'{received:,} bytes had come')
        if total is not None and received != total:
            raise _Interrupted(f'the connection closed after {received} of {total} bytes')
        file.flush()
        os.fsync(file.fileno())


def _limit(url: str, part: Path, received: int, total: int | None, size: int | None, max_bytes: int) -> int:
    """Return the bytes that the file may have; DownloadError if it would have others, or finds no room."""
    if size is not None and total not in (None, size):
        raise DownloadError(f'{url} is a wrong file: expected {size:,} bytes, and the server has {total:,}')
    limit = next((each for each in (size, total) if each is not None), max_bytes)
    if limit > max_bytes and size is None:
        raise DownloadError(f'{url} has {limit:,} bytes, more than the {max_bytes:,} that are fetched')
    free = shutil.disk_usage(part.parent).free
    if size is None and total is None:
        return min(limit, free // 2)            # of the size nothing is known, and others need the disk too
    if limit - received > free:
        raise DownloadError(f'{url} needs {limit - received:,} more bytes on the disk of {part.parent}, '
                            f'which has {free:,} left')
    return limit


def _in_time(deadline: float, request: Callable[[], http.client.HTTPResponse]) -> http.client.HTTPResponse:
    """Return the answer to a request; past the deadline, leave it to its thread: its header may drip."""
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((request(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer, error = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise _Interrupted('no whole header had come') from None
    if error is not None:
        raise error
    return answer


def _read_origin(origin_file: Path, url: str) -> dict:
    """Return the validator and total of a partial file of this address; empty if they are not known."""
    with suppress(OSError, InputError):
        origin = check_fields(read_json(origin_file, 'an origin'), str(origin_file), 'an origin', dict(
            url=(str,), validator=(str,), total=(int, type(None))))
        return origin if origin['url'] == url else {}
    return {}


def _request(url: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    try:
        return _open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:               # the partial file is longer than the file is now
            raise _Changed('the partial file did not fit the file on the server') from error
        answer = f'the server answered {error.code} {error.reason}'
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Interrupted(answer) from error
        raise DownloadError(f'{url}: {answer}') from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Interrupted(_cause(error.reason, timeout)) from error
        raise UnreachableError(f'{url}: cannot connect ({error.reason})') from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Interrupted(_cause(error, timeout)) from error
    except (ValueError, OverflowError) as error:                # of addresses that are none
        if isinstance(error, UserError):
            raise
        raise DownloadError(f'{url!r} is no web address: {error}') from error


def _next_piece(response: http.client.HTTPResponse, received: int, timeout: float) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:  # timeouts, resets, TLS faults, lost routes
        raise _Interrupted(f'{_cause(error, timeout)} after {received} bytes') from error


def _cause(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f'no data for {timeout:g} s'
    return f'the connection broke ({type(error).__name__}: {error})'
