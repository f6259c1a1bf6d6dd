"""Feature files: manifest, rows, progress, npz."""

import io
import json
import os
import reprlib
import shutil
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap, read_array_header_1_0, read_magic

from mmsimclr.errors import ExistingFileError, InputError, MachineError
from mmsimclr.features.fingerprint import ImageList
from mmsimclr.files import HeldError, atomic_writer, leased

MANIFEST = 'manifest.json'
# They tell where a result comes from, not what it is.
PROVENANCE = ('command', 'encoder.path', 'images.source', 'images.root', 'images.num_unreadable',
              'images.unreadable')
DECISIVE_VERSIONS = ('versions.torch', 'versions.opencv-python-headless')


def decisive_settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a manifest that two equal results share, keys dotted."""
    return {key: value for key, value in _flat(manifest, '')
            if key not in PROVENANCE and (not key.startswith('versions.') or key in DECISIVE_VERSIONS)}


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _check_same(place: Path, manifest: Mapping[str, Any]) -> None:
    """Raise if the features at a place are not those of a manifest."""
    before, now = decisive_settings(read_manifest(place)), decisive_settings(manifest)
    if different := [f'{key} was {reprlib.repr(before.get(key))}, is {reprlib.repr(now.get(key))}'
                     for key in sorted({*before, *now}) if before.get(key) != now.get(key)]:
        raise InputError(f'{place} holds features of something else: {"; ".join(different)}. Choose another '
                         'name (--out), or remove it to begin anew')


def read_manifest(place: Path) -> dict[str, Any]:
    """Return the manifest of a folder or an .npz of features."""
    try:
        if place.is_dir():
            return json.loads((place / MANIFEST).read_text(encoding='utf-8'))
        with np.load(place, allow_pickle=False) as archive:
            return json.loads(str(archive['manifest']))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f'{place} holds no features of mmsimclr, or is damaged: {error}') from error


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest into a folder, whole or not at all."""
    with atomic_writer(folder / MANIFEST) as file:
        file.write((json.dumps(manifest, indent=2, allow_nan=False) + '\n').encode())


ALIGNMENT = 64              # of each member's first byte, and so, by the .npy format, of its array
PADDING_ID = 0xD935         # what zipalign calls its extra field; any reader passes over it


def pack_npz(path: Path, arrays: Iterable[Path], text: dict[str, str]) -> None:
    """Copy files ``.npy`` into one uncompressed ``.npz``, whole or not at all.

    Equal content gives equal bytes: members carry no date. ``text`` is stored as arrays of no dimension.
    """
    with atomic_writer(path) as file, zipfile.ZipFile(file, 'w') as archive:
        for name, value in text.items():
            member = io.BytesIO()
            np.save(member, np.array(value))
            archive.writestr(zipfile.ZipInfo(f'{name}.npy'), member.getvalue())
        for source in arrays:
            info = zipfile.ZipInfo(source.name)
            # Fixed part, name, zip64 sizes and the padding's own head come before the array.
            head = file.tell() + 30 + len(source.name) + 20 + 4
            padding = -head % ALIGNMENT
            info.extra = struct.pack('<HH', PADDING_ID, padding) + bytes(padding)
            with source.open('rb') as array, archive.open(info, 'w', force_zip64=True) as target:
                shutil.copyfileobj(array, target, 1 << 20)


def map_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that :func:`pack_npz` packed, by name, memory-mapped and read-only."""
    arrays = {}
    with zipfile.ZipFile(path) as archive, path.open('rb') as file:
        for info in archive.infolist():
            with archive.open(info) as member:
                if info.compress_type != zipfile.ZIP_STORED or read_magic(member) != (1, 0):
                    raise InputError(f'{info.filename} is compressed, or no .npy of version 1.0')
                shape, fortran_order, dtype = read_array_header_1_0(member)
                if dtype.hasobject:                 # mapped, their bytes would be taken for addresses
                    raise InputError(f'{info.filename} holds Python objects')
                head = member.tell()
            # The local header repeats the name and has extra fields of its own (APPNOTE.TXT, 4.3.7).
            file.seek(info.header_offset + 26)
            offset = info.header_offset + 30 + sum(struct.unpack('<HH', file.read(4))) + head
            arrays[Path(info.filename).stem] = np.memmap(path, dtype, 'r', offset, shape,
                                                         order='F' if fortran_order else 'C')
    return arrays


PENDING, DONE, UNREADABLE = 0, 1, 2
PROGRESS = 'progress'
REASONS = 'unreadable'


class RowWriter:
    """Writes the rows of one process into files it may share with others; nothing counts before a commit.

    Unlike a memory map, writes keep the process small and leave other machines' rows on network disks alone.
    """

    def __init__(self, folder: Path, stages: Iterable[str], rank: int) -> None:
        self._folder, self._rank = folder, rank
        self._paths = {stage: folder / f'{stage}.npy' for stage in stages}
        self._written: list[tuple[int, np.ndarray]] = []

    def __enter__(self) -> 'RowWriter':
        self._arrays = {stage: np.load(path, mmap_mode='r') for stage, path in self._paths.items()}
        self._files = {stage: path.open('r+b') for stage, path in self._paths.items()}
        self._progress = open(self._folder / PROGRESS, 'r+b')
        self._reasons = open(self._folder / f'{REASONS}-{self._rank}', 'a', encoding='utf-8')
        self._reasons.write('\n')                   # ends a line that an interruption cut off
        return self

    def __exit__(self, *_: object) -> None:
        for file in (*self._files.values(), self._progress, self._reasons):
            file.close()

    def write(self, start: int, features: Mapping[str, np.ndarray], reasons: Mapping[int, str]) -> None:
        """Write rows [n, C] of consecutive images; ``reasons`` tell why others cannot be read, by place."""
        num_rows = len(next(iter(features.values()))) + len(reasons)
        states = np.full(num_rows, DONE, np.uint8)
        states[list(reasons)] = UNREADABLE
        for stage, file in self._files.items():
            array = self._arrays[stage]
            rows = np.zeros((num_rows, array.shape[1]), array.dtype)
            rows[states == DONE] = features[stage]
            file.seek(array.offset + start * array.strides[0])
            file.write(rows.data)
        for place, reason in reasons.items():
            self._reasons.write(json.dumps(dict(image=start + place, reason=reason)) + '\n')
        self._written.append((start, states))

    def commit(self) -> None:
        """Flush the rows to the disk, then record that they are there."""
        for file in (*self._files.values(), self._reasons):
            file.flush()
            os.fsync(file.fileno())
        for start, states in self._written:
            self._progress.seek(start)
            self._progress.write(states.data)
        self._progress.flush()
        os.fsync(self._progress.fileno())
        self._written.clear()


def _read_reasons(folder: Path) -> dict[int, str]:
    """Return why images cannot be read, by number, of all processes."""
    reasons = {}
    for file in sorted(folder.glob(f'{REASONS}-*')):
        for line in file.read_text(encoding='utf-8').splitlines():
            with suppress(json.JSONDecodeError):    # of a line cut off, so never committed; or empty
                entry = json.loads(line)
                reasons[entry['image']] = entry['reason']
    return reasons


BLOCK_ROWS = 4096


class FeatureStore:
    """A folder ``<out>.partial`` that becomes ``<out>``.

    ``<stage>.npy`` of each stage, ``paths.npy`` and ``labels.npy`` have a row for each image, ``progress`` a
    byte. In the end unreadable images are taken out, and the folder is renamed, or packed as ``.npz``.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f'{out.name}.partial')

    @property
    def is_complete(self) -> bool:
        """Whether the result is there under its name."""
        return self.out.is_file() or (self.out / MANIFEST).is_file()

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep other runs off the files during the block; a complete result needs no lease."""
        with ExitStack() as held:
            if not self.is_complete or self.folder.exists():
                try:
                    held.enter_context(leased(self.out.with_name(f'{self.out.name}.lease'), 'extraction'))
                except HeldError as error:
                    raise HeldError(
                        f'another run is writing {self.out}: {error.holder}. Wait for it and repeat the '
                        'command, which gives its result or goes on from there; or choose another name '
                        '(--out)', error.holder) from None
            yield

    def prepare(self, manifest: Mapping[str, Any], images: ImageList, dataset: Any) -> None:
        """Make the files, or check that those there belong to the same extraction."""
        if self.is_complete:
            _check_same(self.out, manifest)
            shutil.rmtree(self.folder, ignore_errors=True)      # if it was stopped at the very end
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise ExistingFileError(f'{self.out} exists and holds no features; choose another name (--out)')
        elif (self.folder / MANIFEST).is_file():
            _check_same(self.folder, manifest)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)      # if it was stopped at the very beginning
            self._make_files(manifest, images, dataset)
            write_manifest(self.folder, manifest)               # last: with it the files count as made

    def pending(self, batch_size: int, skip_unreadable: bool) -> list[range]:
        """Return the batches with images to do; with ``skip_unreadable``, unreadable ones are done with."""
        if 'num_unreadable' in read_manifest(self.folder)['images']:        # finish() has begun
            return []
        states = self.states()
        todo = states == PENDING if skip_unreadable else states != DONE
        return [range(start, min(start + batch_size, len(todo))) for start in range(0, len(todo), batch_size)
                if todo[start:start + batch_size].any()]

    def states(self) -> np.ndarray:
        """Return the state of each image: ``PENDING``, ``DONE`` or ``UNREADABLE``, uint8 [N]."""
        return np.fromfile(self.folder / PROGRESS, np.uint8)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Take out the rows of unreadable images and rename the result; if stopped, call it again."""
        states, reasons = self.states(), _read_reasons(self.folder)
        assert PENDING not in states, 'some images were not computed'
        keep = np.flatnonzero(states == DONE)
        left_out = [reasons[index] for index in np.flatnonzero(states == UNREADABLE).tolist()]
        if not len(keep):
            raise InputError(f'none of the {len(states)} images can be read: {left_out[0]}')
        write_manifest(self.folder, {**manifest, 'images': {
            **manifest['images'], 'num_unreadable': len(left_out), 'unreadable': left_out}})
        for path in sorted(self.folder.glob('*.npy')):
            _keep_rows(path, keep)
        if self.out.suffix == '.npz':
            pack_npz(self.out, sorted(self.folder.glob('*.npy')),
                     dict(manifest=(self.folder / MANIFEST).read_text(encoding='utf-8')))
            shutil.rmtree(self.folder)
        else:
            os.replace(self.folder, self.out)
            for file in (self.out / PROGRESS, *self.out.glob(f'{REASONS}-*')):
                file.unlink()

    def _make_files(self, manifest: Mapping[str, Any], images: ImageList, dataset: Any) -> None:
        num_images, dtype = images.num_images, np.dtype(manifest['dtype'])
        row_bytes = dtype.itemsize * sum(manifest['stages'].values()) + 4 * images.longest_path
        needed = row_bytes * num_images * (2 if self.out.suffix == '.npz' else 1)
        self.folder.mkdir(parents=True)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise MachineError(
                f'the features of {num_images} images need {needed / 1e9:.1f} GB on the disk of '
                f'{self.folder.parent.absolute()}, which has {free / 1e9:.1f} GB left; float16 needs half, '
                'and a folder half of what .npz needs')
        for stage, length in manifest['stages'].items():
            open_memmap(self.folder / f'{stage}.npy', 'w+', dtype, (num_images, length))
        if images.labels is not None:
            np.save(self.folder / 'labels.npy', images.labels)
        if images.longest_path:
            paths = open_memmap(self.folder / 'paths.npy', 'w+', f'<U{images.longest_path}', (num_images,))
            for index in range(num_images):
                paths[index] = dataset.get_data_info(index)['img_path']
            paths.flush()
        (self.folder / PROGRESS).write_bytes(bytes(num_images))


def _keep_rows(path: Path, keep: np.ndarray) -> None:
    """Reduce a file to some of its rows; one that has as many already is left as it is."""
    array = np.load(path, mmap_mode='r')
    if len(array) == len(keep):
        return
    reduced = path.with_name(f'{path.name}.reduced')
    target = open_memmap(reduced, 'w+', array.dtype, (len(keep), *array.shape[1:]))
    for start in range(0, len(keep), BLOCK_ROWS):
        target[start:start + BLOCK_ROWS] = array[keep[start:start + BLOCK_ROWS]]
    target.flush()
    os.replace(reduced, path)
