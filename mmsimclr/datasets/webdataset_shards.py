"""Images in tar shards of the WebDataset convention, with random access."""

import dataclasses
import logging
import os
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.dataset import force_full_init
from mmengine.logging import print_log
from numpy import ndarray

from mmsimclr.datasets.base import ArrayDataset
from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, check_part, in_part
from mmsimclr.errors import InputError, MissingFileError, UserError
from mmsimclr.files import (
    MAX_IMAGE_BYTES,
    RemoteFolder,
    atomic_writer,
    open_regular,
    read_npz,
    read_text,
)
from mmsimclr.registry import DATASETS

INDEX_NAME = 'index.npz'
CLASSES_NAME = 'classes.txt'
TAR_BLOCK = tarfile.BLOCKSIZE
MAX_OPEN = 128                              # shards of a process; 1024 files is the usual limit
_CLASS, MAX_CLASS_BYTES = re.compile(rb'\s*[0-9]{1,9}\s*'), 64
# As in WebDataset: the sample's key is the name up to the first dot after the folders.
_MEMBER = re.compile(r'((?:.*/|)[^./]+)\.([^/]*)')


@dataclass(frozen=True)
class ShardIndex:
    """The N images of S shards, in the order of the shards and of the members in them."""

    names: tuple[str, ...]                      # file names of the shards, sorted
    sizes: ndarray                              # of the shards in bytes, int64 [S]
    times: ndarray                              # of writing of the shards, ns since 1970, int64 [S]
    shards: ndarray                             # the shard of each image, int32 [N]
    offsets: ndarray                            # first byte of each image in its shard, int64 [N]
    lengths: ndarray                            # bytes of each image, int64 [N]
    labels: ndarray                             # class of each image, int64 [N]; -1 where it has none

    def write(self, folder: Path) -> None:
        """Write the index beside its shards, whole or not at all."""
        with atomic_writer(folder / INDEX_NAME) as file:
            np.savez(file, **{**vars(self), 'names': np.array(self.names)})


def read_index(folder: Path) -> ShardIndex:
    """Return the index of a folder, which fits its shards; where none is written, read their headers."""
    names, path = shard_names(folder), folder / INDEX_NAME
    if not path.is_file():
        return scan_shards(folder)
    mend = f'index again: mmsimclr prepare shards index {folder}'
    try:
        index = _checked_index(read_npz(path, 'index of shards'))
    except InputError as error:
        raise InputError(f'{error}; {mend}') from error
    present = {name: (folder / name).stat().st_size for name in names}
    indexed = dict(zip(index.names, index.sizes.tolist(), strict=True))
    if present != indexed:
        wrong = sorted(name for name, _ in present.items() ^ indexed.items())[0]
        raise InputError(f'{folder / wrong} has {present.get(wrong, "no")} bytes, and '
                         f'{indexed.get(wrong, "no")} in {INDEX_NAME}; bring the shards back, or {mend}')
    if (index.times != _times(folder, names)).any():                # a label may have other digits
        print_log(f'{folder} was written since it was indexed, or copied: the headers of all shards are '
                  f'read instead. To save the time, {mend}', 'current', logging.WARNING)
        return scan_shards(folder)
    return index


def read_remote_index(folder: RemoteFolder) -> ShardIndex:
    """Return the index beside shards that are not on this machine; where they are listed it fits them."""
    mend = 'index the shards where they are (mmsimclr prepare shards index), and bring index.npz there'
    with tempfile.NamedTemporaryFile() as file:
        try:
            file.write(folder.read(INDEX_NAME))
        except MissingFileError as error:
            raise MissingFileError(f'{error}: {mend}') from None
        file.flush()
        index = _checked_index(read_npz(file.name, f'index of the shards at {folder.address}'))
    sizes = dict(zip(index.names, index.sizes.tolist(), strict=True))
    if not folder.address.startswith('http'):
        present = folder.sizes()
        if wrong := [name for name, size in sizes.items() if present.get(name) != size]:
            raise InputError(f'{folder.address}/{wrong[0]} has {present.get(wrong[0], "no")} bytes, and '
                             f'{sizes[wrong[0]]} in {INDEX_NAME}; {mend}')
    folder.keep(sizes, index.times.tobytes().hex())
    return index


def _checked_index(arrays: Mapping[str, ndarray]) -> ShardIndex:
    """Return the index of arrays, if every image lies inside of its shard."""
    fields = [field.name for field in dataclasses.fields(ShardIndex)]
    if 'sizes' in arrays:                                           # an older version wrote no times
        arrays = {'times': np.zeros_like(arrays['sizes']), **arrays}
    if sorted(arrays) != sorted(fields):
        raise InputError(f'{INDEX_NAME} is damaged: it has {", ".join(arrays)}, not {", ".join(fields)}')
    names, sizes, times, shards, offsets, lengths, labels = (arrays[name] for name in fields)
    kinds = [(arrays[name].dtype.kind, arrays[name].ndim) for name in fields]
    if kinds != [('U', 1)] + 6 * [('i', 1)] or not len(names) == len(sizes) == len(times) or len(
            {len(array) for array in (shards, offsets, lengths, labels)}) != 1 or not len(shards):
        raise InputError(f'{INDEX_NAME} is damaged: its arrays are of {kinds}')
    if shards.min() < 0 or shards.max() >= len(names) or offsets.min() < TAR_BLOCK or lengths.min() < 1 or (
            offsets > sizes[shards] - lengths).any() or labels.min() < -1:
        raise InputError(f'{INDEX_NAME} is damaged: images lie outside of shards, or labels are below -1')
    return ShardIndex(tuple(names.tolist()), sizes, times, shards, offsets, lengths, labels)


def _times(folder: Path, names: Sequence[str]) -> ndarray:
    return np.array([(folder / name).stat().st_mtime_ns for name in names])


def shard_names(folder: Path) -> list[str]:
    """Return the names of the shards in a folder, sorted; at least one."""
    if not folder.is_dir():
        raise MissingFileError(f'data_root {folder.absolute()} is not a folder; expected one of .tar shards')
    files = sorted(path.name for path in folder.iterdir())
    names = [name for name in files if name.endswith('.tar') and not name.startswith('.')]
    if not names:
        is_compressed = any(name.endswith(('.tar.gz', '.tgz', '.tar.zst')) for name in files)
        advice = ('compressed ones have no random access: unpack them to .tar' if is_compressed else
                  'to make them of a folder of images: mmsimclr prepare shards write')
        raise MissingFileError(f'no .tar shards in {folder.absolute()}; {advice}')
    return names


def scan_shards(folder: Path) -> ShardIndex:
    """Return the index of all shards of a folder, from the headers of their members."""
    names = shard_names(folder)
    times = _times(folder, names)                                   # before they are read
    scanned = [scan_shard(folder / name) for name in names]
    offsets, lengths, labels = np.concatenate(scanned).T
    shards = np.repeat(np.arange(len(names), dtype=np.int32), [len(shard) for shard in scanned])
    sizes = np.array([(folder / name).stat().st_size for name in names])
    return ShardIndex(tuple(names), sizes, times, shards, offsets, lengths, labels)


def scan_shard(path: Path) -> ndarray:
    """Return (offset, length, label) of each image of a shard, int64 [n, 3]; the label is -1 if it has none.

    A shard that is compressed, damaged or without images is refused.
    """
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode='r:') as tar:
            for member in tar:
                match = _MEMBER.fullmatch(member.name)
                if not member.isfile() or match is None:
                    continue
                if member.issparse():
                    raise InputError(f'{path}: {member.name!r} is stored without its holes; pack it plainly')
                key, extension = match[1], match[2].lower()
                if f'.{extension}' in DEFAULT_EXTENSIONS:
                    if key in images:
                        raise InputError(f'{path}: the sample {key!r} has two images')
                    images[key] = member.offset_data, member.size
                elif extension == 'cls':
                    labels[key] = _class_of(tar, member, f'{path}: the class of {key!r}')
            end = tar.offset
    except UserError:
        raise
    except Exception as error:                                     # damaged headers fail in many ways
        raise InputError(f'{path} is not a whole, uncompressed tar file: {error}') from error
    with open_regular(path) as file:
        file.seek(end)
        block = file.read(TAR_BLOCK)
    if len(block) < TAR_BLOCK or block.strip(b'\0'):               # tarfile takes damage for the end
        raise InputError(f'{path} is truncated or damaged: after {end} bytes neither a member nor the end')
    if not images:
        raise InputError(f'{path} holds no image ({", ".join(DEFAULT_EXTENSIONS)})')
    return np.array([(*place, labels.get(key, -1)) for key, place in images.items()], np.int64)


def _class_of(tar: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> int:
    """Return the class in a member ``.cls``: decimal digits, below 10^9."""
    content = tar.extractfile(member).read(MAX_CLASS_BYTES) if member.size <= MAX_CLASS_BYTES else b''
    if not _CLASS.fullmatch(content):
        raise InputError(f'{place} is no number from 0 to 999999999: {content!r}, {member.size} bytes')
    return int(content)


@DATASETS.register_module()
class WebDatasetShards(ArrayDataset):
    """The images of all ``.tar`` files in a folder: members ``KEY.jpg`` (or another image) and ``KEY.cls``.

    An index says where each image lies, so any image can be had by one read, and the sampler's seeded epochs
    and resuming work as for files. An item is ``dict(img=bytes of the file, img_path=shard and member,
    sample_idx=index)``, with ``gt_label`` where there is one; ``LoadImage`` decodes ``img``.

    The arguments are those of :class:`~mmsimclr.datasets.base.FileDataset`. ``data_root``, the folder of the
    shards, may hold ``index.npz``, which ``mmsimclr prepare shards index`` writes; else the
    headers of all shards are read at the start. ``classes.txt``, if there, names the classes. It may be an
    address (see :class:`mmsimclr.files.RemoteFolder`), and must hold the index then.

    ``split`` and ``held_out_share`` are as of :class:`~mmsimclr.datasets.UnlabeledImageFolder`; here an
    image's shard and place in it decide.
    """

    ROWS = ('shards', 'offsets', 'lengths', 'labels')

    def __init__(self, data_root: str, split: str = 'all', held_out_share: float = 0.05, **kwargs) -> None:
        self.split, self.held_out_share = check_part(split, held_out_share)
        super().__init__(data_root, **kwargs)

    def read(self) -> None:
        root = Path(self.data_root)
        index = read_remote_index(self._remote) if self._remote else read_index(root)
        self.names, self._files = index.names, {}
        chosen = slice(None)
        if self.split != 'all':
            places = (f'{index.names[shard]}/{offset}'.encode()
                      for shard, offset in zip(index.shards, index.offsets, strict=True))
            chosen = in_part(places, self.split, self.held_out_share)
        for name in self.ROWS:
            setattr(self, name, getattr(index, name)[chosen])
        text = None
        if self._remote:
            with suppress(MissingFileError):
                text = self._remote.read(CLASSES_NAME).decode()
        elif (root / CLASSES_NAME).is_file():
            text = read_text(root / CLASSES_NAME, 'a list of classes')
        if text is not None:
            self._metainfo.setdefault('classes', tuple(text.splitlines()))

    def __getstate__(self) -> dict:
        return {**vars(self), '_files': {}}                     # another process opens its own

    def _range(self, place: int) -> tuple[str, int, int]:
        return (self.names[self.shards[place]], int(self.offsets[place]) - TAR_BLOCK,
                TAR_BLOCK + int(self.lengths[place]))

    def _read(self, name: str, start: int, length: int) -> bytes:
        if self._remote:
            return self._remote.read(name, start, length)
        file = self._files.get(name)
        if file is None:
            if len(self._files) >= MAX_OPEN:
                self._files.pop(next(iter(self._files))).close()
            # Forked processes share it, and none moves where another reads.
            file = self._files[name] = open_regular(Path(self.data_root) / name)
        return os.pread(file.fileno(), length, start)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline; a negative one counts from the end."""
        place = range(len(self))[idx]
        name, start, length = self._range(place)
        path, offset, label = os.path.join(self.data_root, name), start + TAR_BLOCK, int(self.labels[place])
        if length - TAR_BLOCK > MAX_IMAGE_BYTES:
            raise InputError(f'{path}: the image at {offset} has {length - TAR_BLOCK:,} bytes, and at most '
                             f'{MAX_IMAGE_BYTES:,} are read')
        data = self._read(name, start, length)
        try:
            header = tarfile.TarInfo.frombuf(data[:TAR_BLOCK], 'utf-8', 'surrogateescape')
        except tarfile.HeaderError:
            header = None
        if header is None or header.size != len(data) - TAR_BLOCK:
            raise InputError(f'{path} is damaged or another than when it was indexed: at {offset} is not '
                             'the image that was there')
        item = {'img': data[TAR_BLOCK:], 'img_path': f'{path}/{header.name}',
                'sample_idx': idx if idx >= 0 else place}
        return item if label < 0 else {**item, 'gt_label': label}
