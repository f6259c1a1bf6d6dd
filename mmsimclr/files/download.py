"""Files fetched over HTTP: resumed where they broke off, and verified. Standard library only."""

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, Mapping

from mmsimclr.errors import InputError, UserError
from mmsimclr.files.locks import locked_file
from mmsimclr.files.verified import difference, sync_folder

CHUNK_BYTES = 1 << 16
Progress = Callable[[int, int | None], None]


class DownloadError(UserError, OSError):
    """A file could not be fetched, or what came is not what was expected."""


class UnreachableError(DownloadError):
    """The server could not be reached, or every attempt ended early: nothing is known about the file."""


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections to other web addresses only; urllib would follow one to ftp:// too."""

    def redirect_request(self, request, response, code, reason, headers, url):
        """Return the request for the new address."""
        if not re.match(r'https?://', url):
            raise DownloadError(f'{request.full_url} redirects to {url!r}, which is no web address')
        return super().redirect_request(request, response, code, reason, headers, url)


_open = urllib.request.build_opener(_WebRedirects).open


class _Interrupted(Exception):
    """The transfer ended early; what has arrived is kept, and another attempt may finish it."""


def download(url: str, path: str | Path, *, hashes: Mapping[str, str] | None = None,
             size: int | None = None, timeout: float = 30.0, attempts: int = 4,
             retry_wait_s: float = 1.0, progress: Progress | None = None) -> Path:
    """Fetch ``url`` into ``path``, going on where an earlier attempt stopped.

    Bytes arrive in ``<path>.part`` and take the name ``path`` only when complete and verified. A
    partial file is continued with an HTTP range request as long as the server confirms that the
    file is still the same one (ETag or Last-Modified, then the total size); otherwise it is
    fetched from the beginning. Two processes asked for the same file take turns.

    Args:
        url: An ``http://`` or ``https://`` address.
        path: Where the file goes; missing parent folders are made.
        hashes: Expected digests by algorithm, e.g. ``{'md5': '...'}``, or their first 8 digits or
            more. A file already at ``path`` that has them (and ``size``) is not fetched again.
        size: Expected size in bytes.
        timeout: Seconds without a single byte after which a connection counts as dead, > 0.
        attempts: How often the transfer is tried in all, >= 1. A refusal that another attempt
            cannot change (404, unknown host) ends the download at once.
        retry_wait_s: Seconds before the second attempt; doubled before each further one.
        progress: Called with (bytes present, total bytes or None) at the start and as the file grows.

    Returns:
        ``path``.

    Raises:
        UnreachableError: If the server cannot be reached or the last attempt ended early.
        DownloadError: If the server refuses the file, or its size or a digest is not the expected
            one. The message begins with the address and says what was expected and what came.
        ValueError: If an argument is out of range or ``url`` is of another kind.
    """
    if not re.match(r'https?://', url):
        raise InputError(f'url must begin with http:// or https://, got {url!r}')
    if timeout <= 0 or attempts < 1:
        raise InputError(f'timeout must be > 0 and attempts >= 1, got {timeout} and {attempts}')
    path = Path(path)
    part = path.with_name(f'{path.name}.part')
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(part) as file, _removed_if_empty(part):
        if (hashes or size) and path.is_file() and not difference(path, hashes, size):
            _remove(part)
            return path
        for attempt in range(1, attempts + 1):
            try:
                _fetch(url, file, _origin_file(part), timeout, progress)
                break
            except _Interrupted as interruption:
                received = os.fstat(file.fileno()).st_size
                if attempt == attempts:
                    kept = (f'. {received} bytes are kept in {part}; another run goes on from there'
                            if received else '')
                    raise UnreachableError(f'{url} could not be fetched in {attempts} attempts: '
                                           f'{interruption}{kept}') from interruption
                time.sleep(retry_wait_s * 2 ** (attempt - 1))
        file.flush()
        os.fsync(file.fileno())
        if wrong := difference(part, hashes, size):
            _remove(part)
            raise DownloadError(f'{url} sent a wrong file: {wrong}. It has been removed')
        os.replace(part, path)
        _origin_file(part).unlink(missing_ok=True)
        sync_folder(path.parent)
    return path


def _fetch(url: str, file: BinaryIO, origin_file: Path, timeout: float,
           progress: Progress | None) -> None:
    """Append to ``file`` what is missing of ``url``; start it anew where it cannot be continued."""
    start = file.seek(0, os.SEEK_END)
    origin = _read_origin(origin_file)
    if start and origin.get('url') == url and origin.get('total') == start:
        return  # Stopped after the last byte and before the check.
    # A response compressed on the way would make byte ranges and sizes meaningless.
    headers = {'User-Agent': 'mmsimclr', 'Accept-Encoding': 'identity'}
    if start and origin.get('url') == url and origin.get('validator'):
        headers.update({'Range': f'bytes={start}-', 'If-Range': origin['validator']})
    else:
        start = 0
    try:
        response = _open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # The partial file is longer than the file is now.
            file.truncate(0)
            raise _Interrupted('the partial file did not fit the file on the server') from error
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Interrupted(f'the server answered {error.code} {error.reason}') from error
        raise DownloadError(f'{url}: the server answered {error.code} {error.reason}') from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Interrupted(f'no answer within {timeout:g} s') from error
        raise UnreachableError(f'{url}: cannot connect ({error.reason})') from error
    except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
        raise _Interrupted(_cause(error, timeout)) from error
    with response:
        total = _total_bytes(response, start)
        validator = _validator(response)
        continues = response.status == 206
        if continues and (total is None or origin.get('total') not in (None, total)
                          or (validator and validator != origin['validator'])):
            file.truncate(0)
            raise _Interrupted('the file on the server has changed; starting again')
        if not continues:
            start = 0
            file.truncate(0)
            origin_file.write_text(json.dumps(
                {'url': url, 'validator': validator, 'total': total}), encoding='utf-8')
        received = _copy(response, file, start, total, timeout, progress)
        if total is not None and received != total:
            raise _Interrupted(f'the connection closed after {received} of {total} bytes')


def _copy(response, file: BinaryIO, received: int, total: int | None, timeout: float,
          progress: Progress | None) -> int:
    """Copy the body to the end of ``file``; return the bytes the file then holds."""
    try:
        file.seek(received)
        if progress:
            progress(received, total)
        while piece := _next_piece(response, received, timeout):
            file.write(piece)
            received += len(piece)
            if progress:
                progress(received, total)
        return received
    finally:
        file.flush()


def _next_piece(response, received: int, timeout: float) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:  # Timeouts, resets, TLS faults, lost routes.
        raise _Interrupted(f'{_cause(error, timeout)} after {received} bytes') from error


def _validator(response) -> str:
    """Return what identifies this version of the file; empty if the server does not say."""
    etag = response.headers.get('ETag', '')
    # RFC 9110, 13.1.5: a weak ETag must not be used in If-Range.
    return etag if etag and not etag.startswith('W/') else response.headers.get('Last-Modified', '')


def _total_bytes(response, start: int) -> int | None:
    """Return the size of the whole file as the response states it; None if it does not fit."""
    if response.status == 206:
        stated = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', response.headers.get('Content-Range', ''))
        return int(stated[2]) if stated and int(stated[1]) == start else None
    length = response.headers.get('Content-Length', '')
    return int(length) if length.isdigit() else None


def _cause(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f'no data for {timeout:g} s'
    return f'the connection broke ({type(error).__name__}: {error})'


def _origin_file(part: Path) -> Path:
    return part.with_name(f'{part.name}.json')


def _read_origin(origin_file: Path) -> dict:
    """Return where a partial file came from; empty if that is not known."""
    try:
        origin = json.loads(origin_file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _origin_file(part).unlink(missing_ok=True)


@contextmanager
def _removed_if_empty(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        if part.exists() and not part.stat().st_size:
            _remove(part)
