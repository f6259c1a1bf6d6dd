"""Images in tar shards of the WebDataset convention, read at any place."""

from __future__ import annotations

import copy
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init
from numpy import ndarray

from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.registry import DATASETS

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
        raise InputError(f'{path} is damaged ({error}); make it anew: {_INDEX_COMMAND} {folder}') from error
    missing = sorted(set(index.names) - set(present))
    if missing:
        raise MissingFileError(f'{len(missing)} of {len(index.names)} shards are missing in {folder}, '
                               f'among them {missing[0]}; bring them back, or index those that are there: '
                               f'{_INDEX_COMMAND} {folder}')
    for name, size in zip(index.names, index.sizes.tolist(), strict=True):
        found = (folder / name).stat().st_size
        if found != size:
            raise InputError(f'{folder / name} is truncated or another: {found} bytes, {size} when it was '
                             f'indexed; bring it back, or index again: {_INDEX_COMMAND} {folder}')
    unknown = sorted(set(present) - set(index.names))
    if unknown:
        raise InputError(f'{len(unknown)} shards in {folder} are not in {INDEX_NAME}, among them '
                         f'{unknown[0]}; index again: {_INDEX_COMMAND} {folder}')
    return index


def shard_names(folder: Path) -> list[str]:
    """Return the names of the shards in a folder, sorted; at least one."""
    if not folder.is_dir():
        raise MissingFileError(f'data_root {folder.absolute()} is not a folder; expected one of .tar shards')
    names = sorted(path.name for path in folder.iterdir()
                   if path.suffix == '.tar' and not path.name.startswith('.'))
    if not names:
        compressed = any(path.name.endswith(('.tar.gz', '.tgz', '.tar.zst')) for path in folder.iterdir())
        raise MissingFileError(
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
                        raise InputError(f'{path}: the sample {key!r} has two images')
                    images[key] = member.offset_data, member.size
                elif extension == 'cls':
                    labels[key] = _class(tar.extractfile(member).read(), path, key)
            end = tar.offset
    except (tarfile.TarError, OSError) as error:
        raise InputError(f'{path} is not a whole, uncompressed tar file: {error}') from error
    _check_end(path, end)
    if not images:
        raise InputError(f'{path} holds no image ({", ".join(DEFAULT_EXTENSIONS)})')
    return np.array([(*place, labels.get(key, -1)) for key, place in images.items()], np.int64)


def _class(content: bytes, path: Path, key: str) -> int:
    try:
        return int(content)
    except ValueError:
        raise InputError(f'{path}: the class of {key!r} is no number: {content[:40]!r}') from None


def _check_end(path: Path, end: int) -> None:
    """Raise if no empty block follows the members, as one ends a tar: tarfile takes damage for the end."""
    with open(path, 'rb') as file:
        file.seek(end)
        block = file.read(TAR_BLOCK)
    if len(block) < TAR_BLOCK or block.strip(b'\0'):
        raise InputError(f'{path} is truncated or damaged: after {end} bytes neither a member nor the end')


CLASSES_NAME = 'classes.txt'


@DATASETS.register_module()
class WebDatasetShards(BaseDataset):
    """The images of all ``.tar`` files in a folder: members ``KEY.jpg`` (or another image) and ``KEY.cls``.

    An index says where each image lies, so it is a dataset like any other: any image at any time, by one
    read. The sampler therefore decides what an epoch is, over ranks and workers, in a seeded order, and a
    resumed run goes on in it. Reading is local or from a mounted file system; what streams from an object
    store is WebDataset itself, which reads the same shards but counts an epoch by samples drawn.

    An item is ``dict(img=bytes of the file, img_path=shard and member, sample_idx=index)``, with ``gt_label``
    where there is one; ``LoadImage`` decodes it.

    Args:
        data_root: Folder of the shards; with ``index.npz``, which
            ``python tools/prepare_data/shards.py index`` writes, else the headers of all shards are read at
            the start. ``classes.txt``, if there, names the classes.
        metainfo: Meta information, as in MMEngine.
        indices: As in MMEngine: the first (``n``) or last (``-n``) images, or those listed.
        pipeline: Transforms applied to an item.
        test_mode: As in MMEngine.
        lazy_init: Read the index at first use rather than now.

    Raises:
        FileNotFoundError: If the folder, all shards or one of the index are missing.
        ValueError: If a shard is damaged, truncated, or another than when it was indexed.
    """

    def __init__(self,
                 data_root: str,
                 metainfo: Mapping | None = None,
                 indices: int | Sequence[int] | None = None,
                 pipeline: Sequence[dict | Callable] = (),
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        self.index: ShardIndex | None = None
        super().__init__(metainfo=metainfo, data_root=str(data_root), indices=indices, serialize_data=False,
                         pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def full_init(self) -> None:
        """Read the index, and see that every shard is there in full; MMEngine's ``data_list`` stays empty."""
        if self._fully_initialized:
            return
        root = Path(self.data_root)
        self.index = read_index(root)
        if (root / CLASSES_NAME).is_file():
            classes = (root / CLASSES_NAME).read_text(encoding='utf-8').splitlines()
            self._metainfo.setdefault('classes', tuple(classes))
        if self._indices is not None:
            self._keep(self._indices)
        self._fully_initialized = True

    @force_full_init
    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.index.offsets)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline.

        Args:
            idx: From 0 to ``len - 1``, or negative to count from the end; any subclass of int, which the
                item carries on unchanged as ``sample_idx``.

        Raises:
            ValueError: If at its place in the shard there is no member of a tar file.
        """
        place = range(len(self))[idx]
        index = self.index
        path = Path(self.data_root) / index.names[index.shards[place]]
        offset = int(index.offsets[place])
        with open(path, 'rb', buffering=0) as file:
            file.seek(offset - TAR_BLOCK)
            data = file.read(TAR_BLOCK + int(index.lengths[place]))
        try:
            header = tarfile.TarInfo.frombuf(data[:TAR_BLOCK], 'utf-8', 'surrogateescape')
        except tarfile.HeaderError:
            header = None
        if header is None or header.size != len(data) - TAR_BLOCK:
            raise InputError(f'{path} is damaged or another than when it was indexed: at {offset} is not '
                             'the image that was there')
        item = {'img': data[TAR_BLOCK:], 'img_path': f'{path}/{header.name}',
                'sample_idx': idx if idx >= 0 else place}
        return item if index.labels[place] < 0 else {**item, 'gt_label': int(index.labels[place])}

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return all labels, int64 [N], in the order of the items; -1 where there is none."""
        return self.index.labels.copy()

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the label of image ``idx`` in a list, as MMEngine's wrappers expect."""
        return [int(self.index.labels[idx])]

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only the first (``n``) or last (``-n``) images, or those listed."""
        self._keep(indices)

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> WebDatasetShards:
        """Return a data set of the first (``n``) or last (``-n``) images, or of those listed."""
        subset = copy.copy(self)
        subset.pipeline = copy.deepcopy(self.pipeline)
        subset._keep(indices)
        return subset

    def _keep(self, indices: int | Sequence[int]) -> None:
        if isinstance(indices, (int, np.integer)):
            chosen = slice(indices) if indices >= 0 else slice(indices, None)
        else:
            chosen = np.asarray(indices, np.int64)
        self.index = replace(self.index, **{
            name: getattr(self.index, name)[chosen] for name in ('shards', 'offsets', 'lengths', 'labels')})
