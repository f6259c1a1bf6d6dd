"""Feature files: manifest, rows, progress, checksums, npz."""

import logging
import mmap
import os
import re
import reprlib
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.lib.format import open_memmap

from mmsimclr.errors import ExistingFileError, InputError, MachineError
from mmsimclr.features.fingerprint import ImageList
from mmsimclr.files import (
    atomic_writer,
    check_fields,
    leased,
    map_npy,
    map_npz,
    parse_json,
    read_json,
    read_npz,
    write_json,
)

MANIFEST = 'manifest.json'
FORMAT = 'mmsimclr features 2'
KIND = 'features of mmsimclr'
# Keys of a manifest that say where the features come from, and not what they are.
PROVENANCE = ('command', 'encoder.path', 'images.source', 'images.root', 'images.num_unreadable',
              'images.unreadable')
DECISIVE_VERSIONS = ('versions.torch', 'versions.opencv-python-headless')
# What may change of an image while its row is not final: the row is made again.
OF_SINGLE_IMAGES = ('images.sha256', 'images.identity')
EXPLAINED = {
    'images.list_sha256': ' (paths or labels)',
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
    if manifest['format'] != FORMAT:
        raise InputError(f'{place} has the format {manifest["format"]!r:.80}, and {FORMAT!r} is read here')
    if manifest['batch_size'] < 1 or not manifest['stages'] or not all(
            isinstance(name, str) for name in manifest['images']['classes']):
        raise InputError(f'{place} is not {KIND}: batch_size must be >= 1, stages not empty, and '
                         'images.classes texts')
    return manifest


def pack_npz(path: Path, arrays: Iterable[Path], text: dict[str, str]) -> None:
    """Copy files ``.npy`` into one uncompressed ``.npz``, whole or not at all; equal content, equal bytes.

    ``text`` is stored as arrays of no dimension.
    """
    with atomic_writer(path) as file, zipfile.ZipFile(file, 'w') as archive:
        for name, value in text.items():
            with archive.open(f'{name}.npy', 'w') as target:
                np.save(target, np.array(value))
        for source in arrays:                       # not by np.savez, which would hold what it maps
            with source.open('rb') as array, archive.open(source.name, 'w', force_zip64=True) as target:
                shutil.copyfileobj(array, target, 1 << 20)


BLOCK_ROWS, BLOCK_BYTES = 4096, 1 << 24


def block_checksums(array: np.ndarray) -> list[int]:
    """Return the CRC-32 of each block of an array's rows.

    A block has ``BLOCK_ROWS`` rows, or fewer where these have more than ``BLOCK_BYTES``.
    """
    checksums, step = [], max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, array[:1].nbytes)))
    for start in range(0, len(array), step):
        rows = np.ascontiguousarray(array[start:start + step])
        checksums.append(zlib.crc32(rows.reshape(-1).view(np.uint8)))
        _release(array)
    return checksums


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
    checksums = check_fields(manifest, str(place), f'complete {KIND}', dict(checksums=(dict,)))['checksums']
    names = {name for name in arrays if name != 'manifest'}
    if set(checksums) != names:
        raise InputError(f'{place} is damaged: it must hold {", ".join(sorted(checksums))}, and holds '
                         f'{", ".join(sorted(names))}')
    for name, expected in checksums.items():
        if block_checksums(arrays[name]) != expected:
            raise InputError(f'{place} is damaged: {name} and its checksums do not agree. Remove it and '
                             'repeat the command that made it')


IDENTITIES = 'identities.npy'
MAX_BLOCK_BYTES = 1 << 30
BLOCK_NAME = re.compile(r'rows-\d+-\d+\.npz')
TEMPORARY = re.compile(r'\..+\.\d+\.tmp')              # of atomic_writer


class FeatureStore:
    """A folder ``<out>.partial`` that becomes ``<out>``.

    It has the manifest, the ``identities`` of the images, and blocks of rows, ``rows-FIRST-COUNT.npz``, each
    whole or not there: numbers of ``images``, ``reasons`` why they cannot be read, empty if they can, and by
    stage the rows of those that can. In the end the rows are put together, and unreadable images left out.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f'{out.name}.partial')

    @property
    def is_complete(self) -> bool:
        """Whether the result is there under its name."""
        return self.out.is_file() or (self.out / MANIFEST).is_file()

    def reserved(self) -> AbstractContextManager:
        """Return a context in which other runs are kept off the files; a complete result needs no lease."""
        if self.is_complete and not self.folder.exists():
            return nullcontext()
        return leased(self.out.with_name(f'{self.out.name}.lease'), 'extraction')

    def prepare(self, manifest: Mapping[str, Any], images: ImageList, skip_unreadable: bool) -> list[range]:
        """Begin, or go on if what is there belongs to the same extraction; return the batches to do.

        Blocks are removed that are damaged, or hold images that have changed since or, without
        ``skip_unreadable``, unreadable ones.
        """
        if self.is_complete:
            _check_same(self.out, manifest)
            self._remove()                                      # if it was stopped at the very end
            return []
        if self.out.is_dir() and any(self.out.iterdir()):
            raise ExistingFileError(f'{self.out} exists and holds no features; choose another name (--out)')
        done = np.zeros(images.num_images, bool)
        if (self.folder / IDENTITIES).is_file():
            _check_same(self.folder, manifest, OF_SINGLE_IMAGES)
            for block in self._sound_blocks(images, skip_unreadable):
                done[block['images']] = True
        else:
            self._remove()                                      # if it was stopped at the very beginning
            self.folder.mkdir(parents=True)
            self._need_room(manifest, images)
        write_json(self.folder / MANIFEST, manifest)
        with atomic_writer(self.folder / IDENTITIES) as file:   # last: with it the folder counts as begun
            np.save(file, images.identities)
        size = manifest['batch_size']
        return [range(start, min(start + size, len(done))) for start in range(0, len(done), size)
                if not done[start:start + size].all()]

    def add(self, images: list[int], reasons: list[str], rows: Mapping[str, list[np.ndarray]]) -> None:
        """Write a block: whole batches of images, a reason for each, and the rows of those without one."""
        with atomic_writer(self.folder / f'rows-{images[0]}-{len(images)}.npz') as file:
            np.savez(file, images=np.array(images), reasons=np.array(reasons),
                     **{stage: np.concatenate(parts) for stage, parts in rows.items()})

    def num_done(self) -> int:
        """Return the number of images in all blocks."""
        return sum(int(path.stem.rpartition('-')[2]) for path in self._block_files())

    def finish(self, manifest: Mapping[str, Any], images: ImageList, dataset: Any) -> None:
        """Put the rows together under the result's name; if stopped, call it again.

        ``images`` are listed anew: a row may be of an image before or after it changed, so all must be as
        they were at the beginning.
        """
        if (changed := map_npy(self.folder / IDENTITIES) != images.identities).any():
            raise InputError(
                f'{int(changed.sum())} of {len(changed)} images were written while their features were '
                f'extracted, the first is number {int(changed.argmax())}. Repeat the command, which reads '
                'them again')
        reasons: list[str] = [''] * images.num_images
        for path in self._block_files():
            block = read_npz(path, KIND, MAX_BLOCK_BYTES)
            for image, reason in zip(block['images'].tolist(), block['reasons'].tolist(), strict=True):
                reasons[image] = reason
        readable = np.array([not reason for reason in reasons])
        if not readable.any():
            raise InputError(f'none of the {len(reasons)} images can be read: {reasons[0]}')
        result, places = self.folder / 'result', np.cumsum(readable) - 1
        shutil.rmtree(result, ignore_errors=True)               # of an end that was stopped
        result.mkdir()
        arrays = {stage: open_memmap(result / f'{stage}.npy', 'w+', np.dtype(manifest['dtype']),
                                     (int(readable.sum()), length))
                  for stage, length in manifest['stages'].items()}
        for path in self._block_files():
            block = read_npz(path, KIND, MAX_BLOCK_BYTES)
            numbers = block['images'][readable[block['images']]]
            for stage, array in arrays.items():
                array[places[numbers]] = block[stage]
                array.flush()
                _release(array)
        if images.labels is not None:
            np.save(result / 'labels.npy', images.labels[readable])
        if images.longest_path:
            paths = [dataset.get_data_info(index).get('img_path') or '' for index in np.flatnonzero(readable)]
            np.save(result / 'paths.npy', np.array(paths, f'<U{images.longest_path}'))
        left_out = [reason for reason in reasons if reason]
        files = sorted(result.glob('*.npy'))
        write_json(result / MANIFEST, {
            **manifest, 'images': {**manifest['images'], 'num_unreadable': len(left_out),
                                   'unreadable': left_out},
            'checksums': {path.stem: block_checksums(map_npy(path)) for path in files}})
        if self.out.suffix == '.npz':
            pack_npz(self.out, files, dict(manifest=(result / MANIFEST).read_text(encoding='utf-8')))
        else:
            os.replace(result, self.out)
        shutil.rmtree(self.folder)

    def _block_files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob('rows-*.npz')
                      if BLOCK_NAME.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode))

    def _remove(self) -> None:
        """Remove the folder of an earlier extraction; InputError if another program made it."""
        if self.folder.exists():
            if any(TEMPORARY.fullmatch(path.name) is None for path in self.folder.iterdir()):
                read_manifest(self.folder)
            shutil.rmtree(self.folder)

    def _sound_blocks(self, images: ImageList, skip_unreadable: bool) -> Iterator[dict[str, np.ndarray]]:
        """Yield the blocks to go on from, and remove the others."""
        identities = map_npy(self.folder / IDENTITIES)
        for path in self._block_files():
            try:
                block = read_npz(path, KIND, MAX_BLOCK_BYTES)
                numbers = block['images']
                if (identities[numbers] != images.identities[numbers]).any():
                    why = 'images have changed since'
                elif not skip_unreadable and any(block['reasons']):
                    why = 'images could not be read'
                else:
                    yield block
                    continue
            except (InputError, KeyError, IndexError, ValueError, OSError) as error:
                why = str(error)
            print_log(f'{path} is made again: {why}', 'current', logging.WARNING)
            path.unlink()

    def _need_room(self, manifest: Mapping[str, Any], images: ImageList) -> None:
        row_bytes = np.dtype(manifest['dtype']).itemsize * sum(manifest['stages'].values())
        needed = images.num_images * (row_bytes + 4 * images.longest_path)
        needed *= 3 if self.out.suffix == '.npz' else 2
        if needed > (free := shutil.disk_usage(self.folder).free):
            raise MachineError(
                f'the features of {images.num_images} images need {needed / 1e9:.1f} GB on the disk of '
                f'{self.folder.parent.absolute()}, which has {free / 1e9:.1f} GB left; float16 needs half, '
                'and a folder two thirds of what .npz needs')
