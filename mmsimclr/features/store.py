"""Feature files: manifest, rows, progress, checksums, npz."""

import io
import json
import logging
import mmap
import os
import reprlib
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.lib.format import open_memmap

from mmsimclr.errors import ExistingFileError, InputError, MachineError
from mmsimclr.features.fingerprint import ImageList
from mmsimclr.files import (
    HeldError,
    atomic_writer,
    check_fields,
    leased,
    map_npy,
    map_npz,
    parse_json,
    read_json,
)

MANIFEST = 'manifest.json'
FORMAT = 'mmsimclr features 2'
FIRST_FORMAT = 'mmsimclr features 1'            # without checksums and times of writing
KIND = 'features of mmsimclr'
# Keys of a manifest that say where the features come from, and not what they are.
PROVENANCE = ('command', 'encoder.path', 'images.source', 'images.root', 'images.num_unreadable',
              'images.unreadable')
DECISIVE_VERSIONS = ('versions.torch', 'versions.opencv-python-headless')
# What may change of an image while its row is not final: the row is made again.
OF_SINGLE_IMAGES = ('images.sha256', 'images.identity')
EXPLAINED = {
    'images.list_sha256': ' (paths or labels)', 'format': ' (of an older version)',
    'images.sha256': ' (paths, labels, sizes, times of writing or contents of the images)',
    'images.identity': ' (--verify compares contents, and times are compared without it)'}


def decisive_settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a manifest that two equal results share, keys dotted."""
    return {key: value for key, value in _flat(manifest, '')
            if key not in PROVENANCE and not key.startswith('checksums.')
            and (not key.startswith('versions.') or key in DECISIVE_VERSIONS)}


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _check_same(place: Path, manifest: Mapping[str, Any], but: Iterable[str] = ()) -> None:
    """Raise if the features at a place are not those of a manifest, the settings ``but`` aside."""
    before, now = decisive_settings(read_manifest(place)), decisive_settings(manifest)
    if different := [f'{key} was {reprlib.repr(before.get(key))}, is {reprlib.repr(now.get(key))}'
                     f'{EXPLAINED.get(key, "")}'
                     for key in sorted({*before, *now} - set(but)) if before.get(key) != now.get(key)]:
        raise InputError(f'{place} holds features of something else: {"; ".join(different)}. Choose another '
                         'name (--out), or remove it to begin anew')


def read_manifest(place: Path) -> dict[str, Any]:
    """Return the manifest of a folder or an .npz of features."""
    if place.is_dir():
        manifest, place = read_json(place / MANIFEST, KIND), place / MANIFEST
    else:
        arrays = map_npz(place, KIND)
        if 'manifest' not in arrays or arrays['manifest'].ndim or arrays['manifest'].dtype.kind != 'U':
            raise InputError(f'{place} holds no {KIND}, or is damaged: it has no manifest')
        manifest = parse_json(str(arrays['manifest']), str(place), KIND)
    check_fields(manifest, str(place), KIND, dict(
        format=(str,), encoder=(dict,), stages=(dict,), dtype=(str,), batch_size=(int,), images=(dict,)))
    check_fields(manifest['images'], str(place), f'{KIND}, in images', dict(
        root=(str,), num=(int,), sha256=(str,), classes=(list,)))
    for stage, length in manifest['stages'].items():
        if type(length) is not int or length < 1 or stage in ('', 'paths', 'labels') or '/' in stage:
            raise InputError(f'{place} is not {KIND}: it has {length!r:.80} features of {stage!r:.80}')
    if manifest['format'] not in (FORMAT, FIRST_FORMAT):
        raise InputError(f'{place} has the format {manifest["format"]!r:.80}, and {FORMAT!r} is read here')
    if manifest['batch_size'] < 1 or not manifest['stages'] or not all(
            isinstance(name, str) for name in manifest['images']['classes']):
        raise InputError(f'{place} is not {KIND}: batch_size must be >= 1, stages not empty, and '
                         'images.classes texts')
    return manifest


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


BLOCK_ROWS, BLOCK_BYTES = 4096, 1 << 24


def block_checksums(array: np.ndarray, rows: np.ndarray | None = None) -> list[int]:
    """Return the CRC-32 of each block of an array's rows; of some rows only, if they are given.

    A block has ``BLOCK_ROWS`` rows, or fewer where these have more than ``BLOCK_BYTES``.
    """
    count, step = len(array) if rows is None else len(rows), _block_rows(array)
    checksums = []
    for start in range(0, count, step):
        block = array[start:start + step] if rows is None else array[rows[start:start + step]]
        checksums.append(_checksum(block))
        _release(array)
    return checksums


def _block_rows(array: np.ndarray) -> int:
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, array[:1].nbytes)))


def _checksum(rows: np.ndarray, before: int = 0) -> int:
    return zlib.crc32(np.ascontiguousarray(rows).reshape(-1).view(np.uint8), before)


def _release(array: np.ndarray) -> None:
    """Take what was read of a mapped file out of the process, which would grow with it."""
    if isinstance(array, np.memmap) and hasattr(mmap, 'MADV_DONTNEED'):
        array._mmap.madvise(mmap.MADV_DONTNEED)


def check_arrays(place: Path, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise InputError if complete arrays are not those that a manifest tells of, to the last bit."""
    images = check_fields(manifest['images'], str(place), f'complete {KIND}, in images',
                          dict(num_unreadable=(int,), unreadable=(list,)))
    num_rows = images['num'] - images['num_unreadable']
    for stage, length in manifest['stages'].items():
        rows = arrays.get(stage)
        if rows is None or rows.shape != (num_rows, length) or str(rows.dtype) != manifest['dtype']:
            found = 'nothing' if rows is None else f'{rows.dtype} {list(rows.shape)}'
            raise InputError(f'{place} is damaged: {stage} must be {manifest["dtype"]} '
                             f'{[num_rows, length]}, got {found}')
    for name, kind, dims in (('paths', 'U', (1,)), ('labels', 'i', (1, 2))):
        array = arrays.get(name)
        if array is not None and (
                array.ndim not in dims or array.dtype.kind != kind or len(array) != num_rows):
            raise InputError(f'{place} is damaged: {name} is {array.dtype} {list(array.shape)}')
    if manifest['format'] == FIRST_FORMAT:
        print_log(f'{place} was written by an older version, without checksums: what it holds is not '
                  'verified', 'current', logging.WARNING)
        return
    checksums = check_fields(manifest, str(place), f'complete {KIND}', dict(checksums=(dict,)))['checksums']
    names = {name for name in arrays if name != 'manifest'}
    if set(checksums) != names:
        raise InputError(f'{place} is damaged: it must hold {", ".join(sorted(checksums))}, and holds '
                         f'{", ".join(sorted(names))}')
    for name, expected in checksums.items():
        found = block_checksums(arrays[name])
        if not isinstance(expected, list) or len(found) != len(expected):
            raise InputError(f'{place} is damaged: it has no checksums of {name}')
        if found != expected:
            block = next(number for number, value in enumerate(found) if value != expected[number])
            raise InputError(f'{place} is damaged: the checksum of block {block} of {name}, from row '
                             f'{block * _block_rows(arrays[name])} on, is wrong. Remove it and repeat the '
                             'command that made it')


PENDING, DONE, UNREADABLE = 0, 1, 2
PROGRESS = 'progress'
CHECKSUMS = 'checksums'
IDENTITIES = 'identities'
REASONS = 'unreadable'


class RowWriter:
    """Writes the rows of one process into files it may share with others; nothing counts before a commit.

    Unlike a memory map, writes keep the process small and leave other machines' rows on network disks alone.
    """

    def __init__(self, folder: Path, stages: Iterable[str], rank: int, batch_size: int) -> None:
        self._folder, self._rank, self._batch_size = folder, rank, batch_size
        self._paths = {stage: folder / f'{stage}.npy' for stage in stages}
        self._written: list[tuple[int, np.ndarray, int]] = []

    def __enter__(self) -> 'RowWriter':
        self._arrays = {stage: map_npy(path) for stage, path in self._paths.items()}
        self._files = {stage: path.open('r+b') for stage, path in self._paths.items()}
        self._progress = open(self._folder / PROGRESS, 'r+b')
        self._checksums = open(self._folder / CHECKSUMS, 'r+b')
        self._reasons = open(self._folder / f'{REASONS}-{self._rank}', 'a', encoding='utf-8')
        self._reasons.write('\n')                   # ends a line that an interruption cut off
        return self

    def __exit__(self, *_: object) -> None:
        for file in (*self._files.values(), self._progress, self._checksums, self._reasons):
            file.close()

    def write(self, start: int, features: Mapping[str, np.ndarray], reasons: Mapping[int, str]) -> None:
        """Write the rows [n, C] of a batch; ``reasons`` tell why its other images have none, by place."""
        num_rows = len(next(iter(features.values()))) + len(reasons)
        states = np.full(num_rows, DONE, np.uint8)
        states[list(reasons)] = UNREADABLE
        checksum = zlib.crc32(states)
        for stage, file in self._files.items():
            array = self._arrays[stage]
            rows = np.zeros((num_rows, array.shape[1]), array.dtype)
            rows[states == DONE] = features[stage]
            file.seek(array.offset + start * array.strides[0])
            file.write(rows.data)
            checksum = _checksum(rows, checksum)
        for place, reason in reasons.items():
            self._reasons.write(json.dumps(dict(image=start + place, reason=reason)) + '\n')
        self._written.append((start, states, checksum))

    def commit(self) -> None:
        """Flush the rows to the disk, then their checksums, then record that they are there."""
        for file in (*self._files.values(), self._reasons):
            file.flush()
            os.fsync(file.fileno())
        for start, _, checksum in self._written:
            self._checksums.seek(start // self._batch_size * 4)
            self._checksums.write(checksum.to_bytes(4, 'little'))
        for start, states, _ in self._written:
            self._progress.seek(start)
            self._progress.write(states.data)
        for file in (self._checksums, self._progress):
            file.flush()
            os.fsync(file.fileno())
        self._written.clear()


def _read_reasons(folder: Path) -> dict[int, str]:
    """Return why images cannot be read, by number, of all processes."""
    reasons = {}
    for file in sorted(folder.glob(f'{REASONS}-*')):
        for line in file.read_bytes().splitlines():
            with suppress(InputError):              # of a line cut off, so never committed; or empty
                entry = check_fields(parse_json(line, str(file), 'a reason'), str(file), 'a reason',
                                     dict(image=(int,), reason=(str,)))
                reasons[entry['image']] = entry['reason']
    return reasons


class FeatureStore:
    """A folder ``<out>.partial`` that becomes ``<out>``.

    ``<stage>.npy`` of each stage, ``paths.npy`` and ``labels.npy`` have a row for each image, ``progress`` a
    byte, ``identities`` 8 bytes, and ``checksums`` 4 bytes for each batch. In the end unreadable images are
    taken out, and the folder is renamed, or packed as ``.npz``. The manifest then has a CRC-32 of each
    ``BLOCK_ROWS`` rows of every array.
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
        """Make the files, or check that those there belong to the same extraction.

        Of an extraction that was interrupted, the rows of images that have changed since, and those whose
        checksum is wrong, are to be made again.
        """
        if self.is_complete:
            _check_same(self.out, manifest)
            shutil.rmtree(self.folder, ignore_errors=True)      # if it was stopped at the very end
            return
        if self.out.is_dir() and any(self.out.iterdir()):
            raise ExistingFileError(f'{self.out} exists and holds no features; choose another name (--out)')
        if (self.folder / MANIFEST).is_file():
            if read_manifest(self.folder)['format'] != FIRST_FORMAT:
                _check_same(self.folder, manifest, () if self._is_finishing() else OF_SINGLE_IMAGES)
                if not self._is_finishing():
                    self._renew(manifest, images, dataset)
                return
            print_log(f'{self.folder} was begun by an older version, which kept no checksums: it is begun '
                      'anew', 'current', logging.WARNING)
        shutil.rmtree(self.folder, ignore_errors=True)          # if it was stopped at the very beginning
        self._make_files(manifest, images, dataset)
        write_manifest(self.folder, manifest)                   # last: with it the files count as made

    def _is_finishing(self) -> bool:
        return 'num_unreadable' in read_manifest(self.folder)['images']

    def pending(self, batch_size: int, skip_unreadable: bool) -> list[range]:
        """Return the batches with images to do; with ``skip_unreadable``, unreadable ones are done with."""
        if self._is_finishing():
            return []
        states = self.states()
        todo = states == PENDING if skip_unreadable else states != DONE
        return [range(start, min(start + batch_size, len(todo))) for start in range(0, len(todo), batch_size)
                if todo[start:start + batch_size].any()]

    def states(self) -> np.ndarray:
        """Return the state of each image: ``PENDING``, ``DONE`` or ``UNREADABLE``, uint8 [N]."""
        return np.fromfile(self.folder / PROGRESS, np.uint8)

    def finish(self, manifest: Mapping[str, Any], images: ImageList) -> None:
        """Take out the rows of unreadable images and rename the result; if stopped, call it again.

        ``images`` are listed anew: a row may be of an image before or after it changed, so all must be as
        they were at the beginning.
        """
        states, reasons = self.states(), _read_reasons(self.folder)
        keep = np.flatnonzero(states == DONE)
        if not self._is_finishing():
            assert PENDING not in states, 'some images were not computed'
            self._check_rows(images)
            left_out = [reasons[index] for index in np.flatnonzero(states == UNREADABLE).tolist()]
            if not len(keep):
                raise InputError(f'none of the {len(states)} images can be read: {left_out[0]}')
            write_manifest(self.folder, {
                **manifest, 'images': {**manifest['images'], 'num_unreadable': len(left_out),
                                       'unreadable': left_out},
                'checksums': {path.stem: block_checksums(map_npy(path), keep)
                              for path in sorted(self.folder.glob('*.npy'))}})
        for path in sorted(self.folder.glob('*.npy')):
            _keep_rows(path, keep)
        if self.out.suffix == '.npz':
            pack_npz(self.out, sorted(self.folder.glob('*.npy')),
                     dict(manifest=(self.folder / MANIFEST).read_text(encoding='utf-8')))
            shutil.rmtree(self.folder)
        else:
            os.replace(self.folder, self.out)
            for name in (PROGRESS, CHECKSUMS, IDENTITIES, f'{REASONS}-*'):
                for file in self.out.glob(name):
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
        self._write_lists(images, dataset)
        (self.folder / PROGRESS).write_bytes(bytes(num_images))
        (self.folder / CHECKSUMS).write_bytes(bytes(4 * -(-num_images // manifest['batch_size'])))

    def _write_lists(self, images: ImageList, dataset: Any) -> None:
        if images.labels is not None:
            np.save(self.folder / 'labels.npy', images.labels)
        if images.longest_path:
            paths = open_memmap(self.folder / 'paths.npy', 'w+', f'<U{images.longest_path}',
                                (images.num_images,))
            for index in range(images.num_images):
                paths[index] = dataset.get_data_info(index).get('img_path') or ''
            paths.flush()
        (self.folder / IDENTITIES).write_bytes(images.identities.astype('<u8').data)

    def _renew(self, manifest: Mapping[str, Any], images: ImageList, dataset: Any) -> None:
        """Set back what an interrupted extraction has of images that changed, and rows that are damaged."""
        for name, size in ((PROGRESS, 1), (IDENTITIES, 8)):
            found = (self.folder / name).stat().st_size
            if found != size * images.num_images:
                raise InputError(f'{self.folder / name} is damaged: it has {found} bytes and must have '
                                 f'{size * images.num_images}; remove {self.folder} to begin anew')
        states = self.states()
        done = states != PENDING
        for rows, why in ((self._changed(images), 'their images have changed since'),
                          (self._damaged(states), 'what was written of them is damaged')):
            states[rows] = PENDING
            if num := int((rows & done).sum()):
                print_log(f'{self.folder}: {num} of {len(states)} rows are made again: {why}', 'current',
                          logging.WARNING)
        with open(self.folder / PROGRESS, 'r+b') as file:
            file.write(states.data)
            file.flush()
            os.fsync(file.fileno())
        self._write_lists(images, dataset)
        write_manifest(self.folder, manifest)

    def _changed(self, images: ImageList) -> np.ndarray:
        return np.fromfile(self.folder / IDENTITIES, '<u8') != images.identities

    def _damaged(self, states: np.ndarray) -> np.ndarray:
        """Return where rows are not those that were written, bool [N], of all batches without gaps."""
        manifest = read_manifest(self.folder)
        size, stages = manifest['batch_size'], [map_npy(self.folder / f'{stage}.npy')
                                                for stage in manifest['stages']]
        expected = np.fromfile(self.folder / CHECKSUMS, '<u4')
        damaged = np.zeros(len(states), bool)
        for number, start in enumerate(range(0, len(states), size)):
            part = slice(start, start + size)
            if PENDING in states[part]:
                continue
            checksum = zlib.crc32(states[part])
            for rows in stages:
                checksum = _checksum(rows[part], checksum)
                _release(rows)
            damaged[part] = number >= len(expected) or checksum != expected[number]
        return damaged

    def _check_rows(self, images: ImageList) -> None:
        if (changed := self._changed(images)).any():
            raise InputError(
                f'{int(changed.sum())} of {len(changed)} images were written while their features were '
                f'extracted, the first is number {int(changed.argmax())}. Repeat the command, which reads '
                'them again')
        if (damaged := self._damaged(self.states())).any():
            raise MachineError(f'{int(damaged.sum())} rows in {self.folder} are not what was written there: '
                               'check the disk, and repeat the command, which makes them again')


def _keep_rows(path: Path, keep: np.ndarray) -> None:
    """Reduce a file to some of its rows; one that has as many already is left as it is."""
    array = map_npy(path)
    if len(array) == len(keep):
        return
    reduced = path.with_name(f'{path.name}.reduced')
    target = open_memmap(reduced, 'w+', array.dtype, (len(keep), *array.shape[1:]))
    for start in range(0, len(keep), BLOCK_ROWS):
        target[start:start + BLOCK_ROWS] = array[keep[start:start + BLOCK_ROWS]]
    target.flush()
    os.replace(reduced, path)
