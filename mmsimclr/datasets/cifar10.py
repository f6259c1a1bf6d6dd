"""CIFAR-10 from its official files, in memory."""

import codecs
import copy
import hashlib
import io
import pickle
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.registry import DATASETS

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
BINARY_FOLDER = 'cifar-10-batches-bin'
PICKLE_FOLDER = 'cifar-10-batches-py'
RECORD_BYTES = 1 + 3 * 32 * 32
# The official pickles have about 31 MB; what is larger is no batch and is not read into memory.
MAX_PICKLE_BYTES = 40_000_000


@dataclass(frozen=True)
class Batch:
    """One official batch: its name, its number of images, and the md5 sums of both versions."""

    name: str
    num_images: int
    binary_md5: str
    pickle_md5: str

    @property
    def num_bytes(self) -> int:
        """Size of the binary version in bytes."""
        return self.num_images * RECORD_BYTES


# Binary sums: those of the members of the official cifar-10-binary.tar.gz; pickle sums: those of
# cifar-10-python.tar.gz, as torchvision checks them.
BATCHES = {
    'train': (
        Batch('data_batch_1', 10000,
              '5dd7e06a14cb22eb9f671a540d1b7c25', 'c99cafc152244af753f735de768cd75f'),
        Batch('data_batch_2', 10000,
              '5ea93a67294ea407fff1d09f752e9692', 'd4bba439e000b95fd0a9bffe97cbabec'),
        Batch('data_batch_3', 10000,
              '942cd6a4bcdd0dd3c604fbe906cb4421', '54ebc095f3ab1f0389bbae665268c751'),
        Batch('data_batch_4', 10000,
              'ae636b3ba5c66a11e91e8cb52e771fcb', '634d18415352ddfa80567beed471001a'),
        Batch('data_batch_5', 10000,
              '53f37980c15c3d472c316c40844f3f0d', '482c414d41f54cd18b22e5b47cb7c3cb'),
    ),
    'test': (
        Batch('test_batch', 10000,
              '803d5f7f4d78ea53de84dbe85f74fb6d', '40351d587109b95175f43aff81a1287e'),
    ),
}


def read_binary_batch(path: Path, batch: Batch) -> np.ndarray:
    """Read a ``.bin`` batch whose content is the official one.

    Args:
        path: The file.
        batch: Which batch it must be.

    Returns:
        Records, uint8 [N, 3073], read-only.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its size or md5 differs from the official one; the message names the file.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    if path.stat().st_size != batch.num_bytes:  # A large wrong file is not read at all.
        raise InputError(f'{path} is truncated or wrong: expected {batch.num_bytes} bytes, '
                         f'got {path.stat().st_size}')
    return check_records(path.read_bytes(), batch, path)


def check_records(data: bytes, batch: Batch, origin: Path) -> np.ndarray:
    """Return ``data`` as records uint8 [N, 3073] if it is the official content of ``batch``.

    Args:
        data: Content of the binary version, as read or re-encoded.
        batch: Which batch it must be.
        origin: The file it comes from, for the message.

    Raises:
        ValueError: If it is anything else.
    """
    actual = _md5(data)
    if actual != batch.binary_md5:
        raise InputError(f'{origin} does not hold the official {batch.name}: expected md5 '
                         f'{batch.binary_md5} of {batch.num_bytes} bytes in the binary layout, got '
                         f'{actual} of {len(data)} bytes')
    return np.frombuffer(data, np.uint8).reshape(batch.num_images, RECORD_BYTES)


def read_official_pickle(path: Path, batch: Batch) -> np.ndarray:
    """Read a batch of the pickle version, unpickling only a file with the official md5.

    Args:
        path: The file.
        batch: Which batch it must be.

    Returns:
        Records, uint8 [N, 3073].

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its md5 differs from the official one; nothing is unpickled then.
    """
    data = _read_pickle_bytes(path)
    actual = _md5(data)
    if actual != batch.pickle_md5:
        raise InputError(f'{path} is truncated or wrong: expected md5 {batch.pickle_md5}, got '
                         f'{actual} ({len(data)} bytes)')
    return _records_of_pickle(data, path)


def read_rebuilt_pickle(path: Path) -> np.ndarray:
    """Read a pickled batch of unknown origin; its content is for the caller to check.

    Nothing but numpy arrays and plain Python containers can come out of it: see
    :class:`ArrayUnpickler`.

    Args:
        path: The file.

    Returns:
        Records, uint8 [N, 3073].

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is no pickled CIFAR-10 batch, or asks for anything besides arrays.
    """
    return _records_of_pickle(_read_pickle_bytes(path), path)


def encode_records(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return records uint8 [N, 3073] from images uint8 [N, 32, 32, 3] (RGB) and labels [N]."""
    records = np.empty((len(images), RECORD_BYTES), np.uint8)
    records[:, 0] = labels
    records[:, 1:] = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return records


def decode_images(records: np.ndarray) -> np.ndarray:
    """Return images uint8 [N, 32, 32, 3] (RGB), a strided view of records uint8 [N, 3073]."""
    return records[:, 1:].reshape(len(records), 3, 32, 32).transpose(0, 2, 3, 1)


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler that can build numpy arrays and plain containers, and nothing else.

    A pickle names the functions it wants called; only the handful that numpy's own pickles name are
    answered, so a manipulated file cannot run anything.
    """

    _example = np.empty(0, np.uint8)
    _functions = {
        **dict.fromkeys((('numpy.core.multiarray', '_reconstruct'),
                         ('numpy._core.multiarray', '_reconstruct')), _example.__reduce__()[0]),
        **dict.fromkeys((('numpy.core.numeric', '_frombuffer'),
                         ('numpy._core.numeric', '_frombuffer')), _example.__reduce_ex__(5)[0]),
        ('numpy', 'ndarray'): np.ndarray,
        ('numpy', 'dtype'): np.dtype,
        ('_codecs', 'encode'): codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the function or class a pickle asks for, if it is one of those admitted."""
        try:
            return self._functions[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f'it asks for {module}.{name}, which no CIFAR-10 batch needs') from None


def _md5(data: bytes) -> str:
    # The sums guard against damage, not against an attacker; says so to FIPS builds of OpenSSL.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _read_pickle_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise InputError(f'{path} is no CIFAR-10 batch: {path.stat().st_size} bytes, where the '
                         'official ones have about 31 million')
    return path.read_bytes()


def _records_of_pickle(data: bytes, path: Path) -> np.ndarray:
    try:
        # Written by Python 2: latin1 carries its byte strings over unchanged.
        content = ArrayUnpickler(io.BytesIO(data), encoding='latin1').load()
        content = {key.decode() if isinstance(key, bytes) else key: content[key] for key in content}
        pixels, labels = content['data'], np.asarray(content['labels'])
    except Exception as error:  # A damaged pickle can raise nearly anything.
        raise InputError(f'{path} cannot be read as a pickled CIFAR-10 batch: '
                         f'{type(error).__name__}: {error}') from error
    is_batch = (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
                and pixels.shape == (len(labels), RECORD_BYTES - 1)
                and labels.dtype.kind in 'iu' and labels.min() >= 0 and labels.max() <= 9)
    if not is_batch:
        raise InputError(f'{path} is no CIFAR-10 batch: it needs data, uint8 [N, 3072], and N '
                         'labels from 0 to 9')
    return np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1)


@DATASETS.register_module()
class CIFAR10(BaseDataset):
    """The 60,000 images of CIFAR-10 with exact labels.

    Both official versions are read: ``cifar-10-batches-bin/*.bin`` and ``cifar-10-batches-py/*``,
    the first one found, in ``data_root`` or as ``data_root`` itself. Every file that is used is
    compared with its official md5 sum at every load (a fraction of a second in all), and a pickle
    is not opened before that.

    The images lie in one array, ``images``, uint8 [N, 32, 32, 3] in RGB (154 MB for the 50,000 of
    training), which forked data-loading workers share; an item holds a copy of its own image. An
    item is ``dict(img=uint8 [32, 32, 3] RGB, gt_label=int, sample_idx=index)``, where ``index`` is
    the very object the sampler passed.

    Args:
        data_root: Folder that holds one of the official versions; made by
            ``python tools/prepare_data/cifar10.py``.
        split: ``'train'`` (50,000 images) or ``'test'`` (10,000).
        num_images: Keep only so many images: of each class the first ones of the file order, in
            file order, the same number of each (where it does not divide, the first classes have
            one more). None keeps all.
        metainfo: Overrides of the meta information, as in MMEngine.
        indices: As in MMEngine, after ``num_images``: the first (``n``) or last (``-n``) images,
            or those listed.
        pipeline: Transforms applied to an item.
        test_mode: As in MMEngine.
        lazy_init: Read the files at first use rather than now.

    Raises:
        ValueError: If an argument is out of range, or a file is not the official one.
        FileNotFoundError: If a file or the folder is missing.
    """

    METAINFO = {'classes': CLASSES}

    def __init__(self,
                 data_root: str = 'data/cifar10',
                 split: str = 'train',
                 num_images: int | None = None,
                 metainfo: Mapping | None = None,
                 indices: int | Sequence[int] | None = None,
                 pipeline: Sequence[dict | Callable] = (),
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        if split not in BATCHES:
            raise InputError(f"split must be 'train' or 'test', got {split!r}")
        available = sum(batch.num_images for batch in BATCHES[split])
        if num_images is not None and not 1 <= num_images <= available:
            raise InputError(f'num_images must be from 1 to {available} for the {split} split '
                             f'(None for all), got {num_images}')
        self.split = split
        self.num_images = num_images
        self.images: np.ndarray = np.empty((0, 32, 32, 3), np.uint8)
        self.labels: np.ndarray = np.empty(0, np.int64)
        super().__init__(
            metainfo=metainfo, data_root=str(data_root), indices=indices, serialize_data=False,
            pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def full_init(self) -> None:
        """Read and verify the files; MMEngine's ``data_list`` stays empty."""
        if self._fully_initialized:
            return
        self.images, self.labels = self._read_split()
        if self.num_images is not None:
            self._keep(_balanced_subset(self.labels, self.num_images))
        if self._indices is not None:
            self._keep(self._indices)
        self._fully_initialized = True

    @force_full_init
    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline.

        Args:
            idx: From 0 to ``len - 1``, or negative to count from the end; any subclass of int,
                which the item carries on unchanged as ``sample_idx``.
        """
        if not -len(self.labels) <= idx < len(self.labels):
            raise IndexError(f'index {idx} is out of range for {len(self.labels)} images')
        # A copy, so that a transform working in place cannot change the data set.
        return {'img': self.images[idx].copy(), 'gt_label': int(self.labels[idx]),
                'sample_idx': idx if idx >= 0 else len(self.labels) + idx}

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return all labels, int64 [N], in the order of the items."""
        return self.labels.copy()

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the label of image ``idx`` in a list, as MMEngine's wrappers expect."""
        return [int(self.labels[idx])]

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only the first (``n``) or last (``-n``) images, or those listed."""
        self._keep(indices)

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> 'CIFAR10':
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
        self.images, self.labels = self.images[chosen], self.labels[chosen]

    def _read_split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [N, 32, 32, 3] and labels int64 [N] of the whole split."""
        folder, suffix, read = self._find_version()
        batches = BATCHES[self.split]
        images = np.empty((sum(batch.num_images for batch in batches), 32, 32, 3), np.uint8)
        labels = np.empty(len(images), np.int64)
        end = 0
        for batch in batches:
            try:
                records = read(folder / f'{batch.name}{suffix}', batch)
            except (ValueError, FileNotFoundError) as error:
                raise type(error)(f'{error}. To mend it: {self._mend_command()}') from error
            start, end = end, end + batch.num_images
            images[start:end] = decode_images(records)
            labels[start:end] = records[:, 0]
        return images, labels

    def _find_version(self) -> tuple[Path, str, Callable]:
        """Return folder, file suffix and reader of the first version of which a file is there."""
        root = Path(self.data_root)
        versions = [(root / BINARY_FOLDER, '.bin', read_binary_batch),
                    (root / PICKLE_FOLDER, '', read_official_pickle),
                    (root, '.bin', read_binary_batch), (root, '', read_official_pickle)]
        for version in versions:
            folder, suffix, _ = version
            if any((folder / f'{batch.name}{suffix}').is_file() for batch in BATCHES[self.split]):
                return version
        first = BATCHES[self.split][0].name
        state = 'holds neither' if root.is_dir() else 'does not exist, so there is neither'
        raise MissingFileError(
           f'No CIFAR-10 {self.split} split: data_root {root.absolute()} {state} '
           f'{BINARY_FOLDER}/{first}.bin nor {PICKLE_FOLDER}/{first} (nor these files without '
           f'their folder). To prepare it: {self._mend_command()}')

    def _mend_command(self) -> str:
        return f'python tools/prepare_data/cifar10.py --data-root {shlex.quote(self.data_root)}'


def _balanced_subset(labels: np.ndarray, num_images: int) -> np.ndarray:
    """Return positions of the first images of each class, in ascending order, ``num_images`` all.

    A class that has too few gives all it has, and the others make up for it.
    """
    # An image's rank is its place among those of its class; the lowest ranks go first.
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.count_nonzero(labels == label))
    return np.sort(np.lexsort((labels, rank))[:num_images])
