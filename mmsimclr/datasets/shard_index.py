"""Where each image lies in a folder of uncompressed tar files in WebDataset's convention."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray

from mmsimclr.datasets.image_files import DEFAULT_EXTENSIONS

INDEX_NAME = 'index.npz'
TAR_BLOCK = tarfile.BLOCKSIZE
# As in WebDataset: what stands before the first dot of the file name is the sample's key.
_MEMBER = re.compile(r'((?:.*/|)[^./]+)\.([^/]*)')
_INDEX_COMMAND = 'python tools/prepare_data/shards.py index'


@dataclass(frozen=True)
class ShardIndex:
    """The images of S shards, in the order of the shards and of the members in them.

    Attributes:
        names: File names of the shards, S of them, sorted.
        sizes: Their sizes in bytes, int64 [S].
        shards: The shard of each image, int32 [N].
        offsets: First byte of each image in its shard, int64 [N].
        lengths: Its bytes, int64 [N].
        labels: Its class, int64 [N]; -1 where it has none.
    """

    names: tuple[str, ...]
    sizes: ndarray
    shards: ndarray
    offsets: ndarray
    lengths: ndarray
    labels: ndarray

    def write(self, folder: Path) -> None:
        """Write the index beside its shards, whole or not at all."""
        part = folder / f'.{INDEX_NAME}.{os.getpid()}.part'
        with open(part, 'wb') as file:
            np.savez(file, names=np.array(self.names), sizes=self.sizes, shards=self.shards,
                     offsets=self.offsets, lengths=self.lengths, labels=self.labels)
        part.replace(folder / INDEX_NAME)


def read_index(folder: Path) -> ShardIndex:
    """Return the written index of a folder; where there is none, read the headers of all shards.

    Raises:
        FileNotFoundError: If there is no folder or no shard in it, or a shard of the index is missing.
        ValueError: If a shard is not of the size in the index, or is not in the index, or the index or a
            shard is damaged.
    """
    present = shard_names(folder)
    path = folder / INDEX_NAME
    if not path.is_file():
        return scan_shards(folder)
    try:
        with np.load(path, allow_pickle=False) as stored:
            index = ShardIndex(tuple(stored['names'].tolist()), *(
                stored[name] for name in ('sizes', 'shards', 'offsets', 'lengths', 'labels')))
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path} is damaged ({error}); make it anew: {_INDEX_COMMAND} {folder}') from error
    missing = sorted(set(index.names) - set(present))
    if missing:
        raise FileNotFoundError(f'{len(missing)} of {len(index.names)} shards are missing in {folder}, '
                                f'among them {missing[0]}; bring them back, or index those that are there: '
                                f'{_INDEX_COMMAND} {folder}')
    for name, size in zip(index.names, index.sizes.tolist(), strict=True):
        found = (folder / name).stat().st_size
        if found != size:
            raise ValueError(f'{folder / name} is truncated or another: {found} bytes, {size} when it was '
                             f'indexed; bring it back, or index again: {_INDEX_COMMAND} {folder}')
    unknown = sorted(set(present) - set(index.names))
    if unknown:
        raise ValueError(f'{len(unknown)} shards in {folder} are not in {INDEX_NAME}, among them '
                         f'{unknown[0]}; index again: {_INDEX_COMMAND} {folder}')
    return index


def shard_names(folder: Path) -> list[str]:
    """Return the names of the shards in a folder, sorted; at least one."""
    if not folder.is_dir():
        raise FileNotFoundError(f'data_root {folder.absolute()} is not a folder; expected one of .tar shards')
    names = sorted(path.name for path in folder.iterdir()
                   if path.suffix == '.tar' and not path.name.startswith('.'))
    if not names:
        compressed = any(path.name.endswith(('.tar.gz', '.tgz', '.tar.zst')) for path in folder.iterdir())
        raise FileNotFoundError(
            f'no .tar shards in {folder.absolute()}' + (
                '; compressed ones cannot be read at any place: unpack them to .tar' if compressed else
                '; to make them of a folder of images: python tools/prepare_data/shards.py write'))
    return names


def scan_shards(folder: Path) -> ShardIndex:
    """Return the index of all shards of a folder, from the headers of their members."""
    names = shard_names(folder)
    scanned = [scan_shard(folder / name) for name in names]
    counts = [len(shard) for shard in scanned]
    offsets, lengths, labels = np.concatenate(scanned).T
    return ShardIndex(
        tuple(names), np.array([(folder / name).stat().st_size for name in names]),
        np.repeat(np.arange(len(names), dtype=np.int32), counts), offsets, lengths, labels)


def scan_shard(path: Path) -> ndarray:
    """Return (offset, length, label) of each image of a shard, int64 [n, 3]; the label is -1 if it has none.

    Raises:
        ValueError: If the file is no uncompressed tar or is damaged, holds no image, a sample has two
            images, or a class is not a number.
    """
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, 'r:') as tar:
            for member in tar:
                match = _MEMBER.fullmatch(member.name)
                if not member.isfile() or match is None:
                    continue
                key, extension = match[1], match[2].lower()
                if f'.{extension}' in DEFAULT_EXTENSIONS:
                    if key in images:
                        raise ValueError(f'{path}: the sample {key!r} has two images')
                    images[key] = member.offset_data, member.size
                elif extension == 'cls':
                    labels[key] = _class(tar.extractfile(member).read(), path, key)
            end = tar.offset
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f'{path} is not a whole, uncompressed tar file: {error}') from error
    _check_end(path, end)
    if not images:
        raise ValueError(f'{path} holds no image ({", ".join(DEFAULT_EXTENSIONS)})')
    return np.array([(*place, labels.get(key, -1)) for key, place in images.items()], np.int64)


def _class(content: bytes, path: Path, key: str) -> int:
    try:
        return int(content)
    except ValueError:
        raise ValueError(f'{path}: the class of {key!r} is no number: {content[:40]!r}') from None


def _check_end(path: Path, end: int) -> None:
    """Raise if no empty block follows the members, as one ends a tar: tarfile takes damage for the end."""
    with open(path, 'rb') as file:
        file.seek(end)
        block = file.read(TAR_BLOCK)
    if len(block) < TAR_BLOCK or block.strip(b'\0'):
        raise ValueError(f'{path} is truncated or damaged: after {end} bytes neither a member nor the end')
