"""CIFAR-10 from a folder, an archive or the official address, verified, in the official binary layout."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from mmsimclr.datasets import cifar10 as official
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import DownloadError, ProgressLine, atomic_writer, download, unpack

OFFICIAL_URL = 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz'
OFFICIAL_MD5 = 'c32a1d4ab5d03f1284b67883e8d87530'
OFFICIAL_BYTES = 170_052_171
Report = Callable[[str], None]


def prepare_cifar10(data_root: str | Path = 'data/cifar10', source: str = 'auto', *, url: str = OFFICIAL_URL,
                    timeout: float = 30.0, keep_archive: bool = False, report: Report = print) -> Path:
    """Make and return ``<data_root>/cifar-10-batches-bin``, each batch equal to the official one.

    Batches that are already there and verified are left alone; a wrong one is replaced. ``source`` is
    ``'official'`` (download from ``url``), the path of a folder or tar archive that holds either official
    version, or ``'auto'``: what already lies in ``data_root``, then the official address.

    Raises:
        FileNotFoundError: If the source holds nothing that could be CIFAR-10.
        ValueError: If a file of the source is wrong or truncated; the message names it.
        DownloadError: If the download fails.
    """
    data_root = Path(data_root)
    folder = data_root / official.BINARY_FOLDER
    if not _wanted_batches(folder, report):
        report(f'already there and verified: {folder}')
        return folder
    data_root.mkdir(parents=True, exist_ok=True)
    if source not in ('auto', 'official'):
        report(f'taking CIFAR-10 from {source}')
        _take_from(Path(source), folder, report)
    elif source == 'official' or not _take_existing(data_root, folder, report):
        _take_official(url, timeout, keep_archive, folder, report)
    with atomic_writer(folder / 'batches.meta.txt') as file:
        file.write(('\n'.join(official.CLASSES) + '\n\n').encode())
    report(f'done: all batches verified in {folder}')
    return folder


def _take_existing(data_root: Path, folder: Path, report: Report) -> bool:
    """Take what lies in ``data_root``; return whether that was all of CIFAR-10."""
    if any(data_root.iterdir()):
        report(f'looking in {data_root}')
        try:
            _take_from(data_root, folder, report)
            return True
        except (OSError, ValueError) as error:
            report(f'existing files: {error}')
    return False


def _take_official(url: str, timeout: float, keep_archive: bool, folder: Path, report: Report) -> None:
    """Download the official archive and take the batches from it."""
    report(f'official address: downloading {url}')
    try:
        archive = download(url, folder.parent / 'cifar-10-binary.tar.gz', size=OFFICIAL_BYTES,
                           hashes={'md5': OFFICIAL_MD5}, timeout=timeout,
                           progress=ProgressLine('CIFAR-10', 'MB'))
    except DownloadError as error:
        raise type(error)(f'{error}. Fetch cifar-10-binary.tar.gz on another machine ({OFFICIAL_URL}) and '
                          'name it with --source') from error
    _take_from(archive, folder, report)
    if not keep_archive:
        archive.unlink()


def _take_from(location: Path, folder: Path, report: Report) -> None:
    """Write the batches missing in ``folder`` from a folder or an archive, trying all that it holds."""
    if location.is_file():
        with tempfile.TemporaryDirectory(prefix='.unpacked-', dir=folder.parent) as temporary:
            try:
                unpack(location, Path(temporary),
                       [f'{batch.name}{suffix}' for batch in _batches() for suffix in ('.bin', '')])
                return _take_from(Path(temporary), folder, report)
            except (OSError, ValueError) as error:
                if getattr(error, 'errno', None) is not None:
                    raise  # No fault of the archive: a full disk, missing rights.
                # The temporary folder means nothing to the user; the archive does.
                raise InputError(str(error).replace(f'{temporary}/', f'{location}:').replace(
                    temporary, str(location))) from error
    if not location.is_dir():
        raise MissingFileError(f"{location} does not exist. A source is a folder, a tar archive, 'official' "
                               "or 'auto'")
    failures = []
    for place, suffix in official.versions_in(location, _batches()):
        try:
            for batch in _wanted_batches(folder):
                records = official.read_batch(place / f'{batch.name}{suffix}', batch)
                with atomic_writer(folder / f'{batch.name}.bin') as file:
                    file.write(records)
                report(f'{batch.name}.bin: md5 {batch.binary_md5}, the official one')
            return
        except (OSError, ValueError) as error:
            failures.append(error)
    for archive in sorted([*location.glob('*cifar*.tar.gz'), *location.glob('*cifar*.tgz')]):
        try:
            report(f'unpacking {archive}')
            return _take_from(archive, folder, report)
        except (OSError, ValueError) as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise InputError('; '.join(map(str, failures)))
    raise MissingFileError(
        f'{location} holds no CIFAR-10: looked for data_batch_1.bin (binary version) and data_batch_1 '
        f'(pickle version), there and in {official.BINARY_FOLDER} and {official.PICKLE_FOLDER}, '
        'and for archives named *cifar*.tar.gz or *cifar*.tgz')


def _batches() -> list[official.Batch]:
    return [batch for batches in official.BATCHES.values() for batch in batches]


def _wanted_batches(folder: Path, report: Report | None = None) -> list[official.Batch]:
    """Return the batches that are not yet in ``folder`` with official content."""
    wanted = []
    for batch in _batches():
        try:
            official.read_batch(folder / f'{batch.name}.bin', batch)
        except (FileNotFoundError, ValueError) as error:
            wanted.append(batch)
            if report and isinstance(error, ValueError):
                report(f'to be replaced: {error}')
    return wanted
