"""Published weights: mirrors, cache, download and verification."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mmsimclr import files
from mmsimclr.checkpoints.errors import CheckpointError
from mmsimclr.checkpoints.read import HASH_IN_NAME
from mmsimclr.checkpoints.zoo_index import find_entry, model_entries
from mmsimclr.errors import InputError, MissingFileError


class FetchError(CheckpointError):
    """No address has the file, or it cannot be stored; the message says what was tried and what to do."""


@dataclass(frozen=True)
class Verdict:
    """Identity of a file."""

    verified: bool                       # by its name or the zoo, and contradicted by neither
    model: str | None                    # of the zoo, whose published weights it is
    sha256: str                          # hexadecimal
    message: str                         # all of it in a sentence


def fetch_model(name: str, dest: str | Path | None = None, *, mirrors: Iterable[str | Path] = ()) -> Path:
    """Return the published weights of a model as a local, verified file, downloaded once.

    Args:
        name: A name of :func:`mmsimclr.list_models`.
        dest: Folder for the file instead of the cache; it is made if missing.
        mirrors: Folders or addresses to try before those that the user has set.

    Raises:
        CheckpointError: If there is no such model, no weights of it were published, no address has the file,
            or it cannot be written.
    """
    entry = find_entry(name)
    if not entry.urls:
        having = ', '.join(other.name for other in model_entries() if other.urls)
        raise CheckpointError(f'no weights of {name} were published; there are some of: {having}')
    return _fetch(entry.urls, entry.sha256, dest, mirrors)


def fetch_url(url: str) -> Path:
    """Return the file at a web or ``file://`` address as a local file.

    It is verified if its name promises a hash, as ``name-0123abcd.pth`` does. Otherwise no mirror is asked,
    and a file fetched from the same address before is used again.

    Raises:
        ValueError: If the address is of another kind or names no file.
        FetchError: If no address has the file, or it cannot be written.
    """
    if not re.match(r'(https?|file)://', url):
        raise InputError(f'url must begin with http://, https:// or file://, got {url!r}')
    try:
        name = _file_name(url)
    except ValueError as error:                              # of urlsplit
        raise InputError(f'{url!r} is no address: {error}') from error
    if not unquote(url).isprintable():                       # %00 would end a name, %0A break a message
        raise InputError(f'url must have no control characters, got {url!r}')
    if name in ('', '..'):
        raise InputError(f'url must end in the name of a file, got {url!r}')
    promised = HASH_IN_NAME.search(name)
    return _fetch((url,), promised and promised[1])


def verify_file(path: str | Path) -> Verdict:
    """Compare a file's SHA-256 with the one its name promises and with the weights of the zoo."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'no file at {path}')
    sha256 = files.file_digest(path)
    entry = next((entry for entry in model_entries()
                  if entry.sha256 and sha256.startswith(entry.sha256)), None)
    model, identity = entry and entry.name, 'no file of the model zoo'
    if entry:
        known = '' if entry.sha256 == sha256 else ' (by the 8 digits of its SHA-256 that were published)'
        identity = f'the published weights of {model}{known}'
    promised = HASH_IN_NAME.search(path.name)
    if promised and promised[1] != sha256[:8]:
        return Verdict(False, model, sha256, (
            f'{path} is not the file its name promises: its SHA-256 begins with {sha256[:8]}, not '
            f'{promised[1]}; it is {identity}'))
    if promised:
        identity += ', and the one its name promises'
    elif not model:
        identity += ', and its name promises no hash: nothing to hold it against'
    return Verdict(bool(model or promised), model, sha256, f'{path} is {identity}. SHA-256: {sha256}')


def _fetch(urls: Sequence[str], prefix: str | None, dest: str | Path | None = None,
           mirrors: Iterable[str | Path] = ()) -> Path:
    """Return a published file from the cache, a mirror, or the first of its addresses that has it."""
    name = _file_name(urls[0])
    folder = Path(dest).expanduser() if dest is not None else cache_folder()
    if dest is None and not HASH_IN_NAME.search(name):       # many a file is called checkpoint.pth
        folder /= hashlib.sha256(urls[0].encode()).hexdigest()[:8]
    target = folder / name
    hashes = {'sha256': prefix} if prefix else None
    problems = []
    if target.is_file():
        if not (wrong := files.difference(target, hashes)):
            return target
        problems.append(f'{target} is damaged: {wrong}')
    mirrors = [*mirrors, *configured_mirrors()] if prefix else []
    for places in [*(_places_at_mirror(mirror, urls[0]) for mirror in mirrors), *([url] for url in urls)]:
        for place in places:
            try:
                return _take(place, target, hashes, copy=dest is not None)
            except files.DownloadError as error:
                problems.append(str(error))
                if isinstance(error, files.UnreachableError):
                    break
            except OSError as error:
                raise FetchError(f'cannot write {target}: {error.strerror or error}. Choose another folder: '
                                 'MMSIMCLR_CACHE for the cache, dest or --dest for one file') from error
    tried = ''.join(f'\n  {problem}' for problem in problems)
    hint = f', with a SHA-256 that begins with {prefix},' if prefix else ''
    raise FetchError(
        f'{name} is at none of its addresses:{tried}\nThe host of the published models has been reported '
        f'gone. To supply the file by hand{hint} put it at {target}, or into a folder or on a server that '
        'MMSIMCLR_MIRRORS names')


def _take(place: str | Path, target: Path, hashes: dict[str, str] | None, copy: bool) -> Path:
    """Bring the file from one place; DownloadError if it is not there or is another one."""
    if isinstance(place, str) and place.startswith('file://'):
        place = Path(url2pathname(urlsplit(place).path))
    if isinstance(place, str):
        if os.environ.get('MMSIMCLR_OFFLINE', '0') not in ('', '0'):
            raise files.UnreachableError(f'{place}: not tried, since MMSIMCLR_OFFLINE is set')
        with files.ProgressLine(target.name, 'MB') as line:
            return files.download(place, target, hashes=hashes, progress=line)
    try:
        wrong = files.difference(place, hashes) if place.is_file() else 'no such file'
    except OSError as error:
        wrong = error.strerror
    if wrong:
        raise files.DownloadError(f'{place}: {wrong}')
    if not copy:
        return place
    with open(place, 'rb') as source, files.atomic_writer(target) as file:
        shutil.copyfileobj(source, file)
    return target


def _places_at_mirror(mirror: str | Path, url: str) -> list[str | Path]:
    """Return where a mirror may hold the file published at ``url``: by its name, or below its path."""
    mirror = str(mirror)
    scheme = re.match(r'(\w+)://', mirror)
    if scheme and scheme[1] not in ('http', 'https', 'file'):
        raise InputError(f'a mirror must be a folder or begin with http://, https:// or file://, got '
                         f'{mirror!r}')
    published_path = urlsplit(url).path.lstrip('/')
    names = dict.fromkeys([PurePosixPath(published_path).name, published_path])
    if scheme:
        return [f'{mirror.rstrip("/")}/{name}' for name in names]
    return [Path(mirror).expanduser() / unquote(name) for name in names]


def _file_name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def configured_mirrors() -> list[str]:
    """Return the user's mirrors, ``MMSIMCLR_MIRRORS`` of the environment."""
    named = os.environ.get('MMSIMCLR_MIRRORS', '').split(',')
    return [mirror.strip() for mirror in named if mirror.strip()]


def cache_folder() -> Path:
    """Return the folder of the cache, which need not exist yet."""
    if folder := os.environ.get('MMSIMCLR_CACHE'):
        return Path(folder).expanduser()
    # By the XDG specification an empty variable counts as unset.
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmsimclr' / 'checkpoints'
