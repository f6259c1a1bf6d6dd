"""CIFAR-10 from its official files, in memory."""

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.dataset import force_full_init

from mmsimclr.datasets.base import ArrayDataset
from mmsimclr.errors import InputError, MissingFileError, UserError
from mmsimclr.files.unpickling import RefusedError, unpickle_arrays
from mmsimclr.registry import DATASETS

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
BINARY_FOLDER = 'cifar-10-batches-bin'
PICKLE_FOLDER = 'cifar-10-batches-py'
RECORD_BYTES = 1 + 3 * 32 * 32
# The official pickles have about 31 MB; a larger file is no batch and is not read into memory.
MAX_PICKLE_BYTES = 40_000_000


@dataclass(frozen=True)
class Batch:
    """An official batch: its name, its number of images, and the md5 sums of both versions."""

    name: str
    num_images: int
    binary_md5: str
    pickle_md5: str


# Binary sums: of the members of cifar-10-binary.tar.gz; pickle sums: of those of cifar-10-python.tar.gz, as
# torchvision checks them.
BATCHES = {
    'train': (
        Batch('data_batch_1', 10000, '5dd7e06a14cb22eb9f671a540d1b7c25', 'c99cafc152244af753f735de768cd75f'),
        Batch('data_batch_2', 10000, '5ea93a67294ea407fff1d09f752e9692', 'd4bba439e000b95fd0a9bffe97cbabec'),
        Batch('data_batch_3', 10000, '942cd6a4bcdd0dd3c604fbe906cb4421', '54ebc095f3ab1f0389bbae665268c751'),
        Batch('data_batch_4', 10000, 'ae636b3ba5c66a11e91e8cb52e771fcb', '634d18415352ddfa80567beed471001a'),
        Batch('data_batch_5', 10000, '53f37980c15c3d472c316c40844f3f0d', '482c414d41f54cd18b22e5b47cb7c3cb'),
    ),
    'test': (
        Batch('test_batch', 10000, '803d5f7f4d78ea53de84dbe85f74fb6d', '40351d587109b95175f43aff81a1287e'),
    ),
}


def read_binary_batch(path: Path, batch: Batch) -> np.ndarray:
    """Return the records of an official ``.bin`` batch, uint8 [N, 3073], read-only.

    A record is the label, then the red, green and blue values.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its size or md5 differs from the official one; the message names the file.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    num_bytes = batch.num_images * RECORD_BYTES
    if path.stat().st_size != num_bytes:                          # A large wrong file is not read at all.
        raise InputError(f'{path} is truncated or wrong: expected {num_bytes} bytes, got '
                         f'{path.stat().st_size}')
    return check_records(path.read_bytes(), batch, path)


def check_records(data: bytes, batch: Batch, origin: Path) -> np.ndarray:
    """Return content of the binary layout as records uint8 [N, 3073], if it is that of ``batch``."""
    actual = _md5(data)
    if actual != batch.binary_md5:
        raise InputError(f'{origin} does not hold the official {batch.name}: expected md5 {batch.binary_md5} '
                         f'of {batch.num_images * RECORD_BYTES} bytes in the binary layout, got {actual} of '
                         f'{len(data)} bytes')
    return np.frombuffer(data, np.uint8).reshape(batch.num_images, RECORD_BYTES)


def read_pickled_batch(path: Path, batch: Batch | None = None) -> np.ndarray:
    """Read a batch of the pickle version as records, uint8 [N, 3073], as of :func:`read_binary_batch`.

    Nothing but arrays and plain containers can come out of the file. The md5 of ``batch`` is compared before
    anything is unpickled. None is for a pickle rebuilt elsewhere, whose content the caller checks.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its md5 is another, it is no CIFAR-10 batch, or it asks for anything besides arrays.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise InputError(f'{path} is no CIFAR-10 batch: {path.stat().st_size} bytes, where the official ones '
                         'have about 31 million')
    data = path.read_bytes()
    if batch is not None and _md5(data) != batch.pickle_md5:
        raise InputError(f'{path} is truncated or wrong: expected md5 {batch.pickle_md5}, got {_md5(data)} '
                         f'({len(data)} bytes)')
    try:
        content = unpickle_arrays(data)
        content = {key.decode() if isinstance(key, bytes) else key: content[key] for key in content}
        pixels, labels = np.asarray(content['data']), np.asarray(content['labels'])
    except RefusedError as error:
        raise InputError(f'{path} cannot be read as a pickled CIFAR-10 batch: it asks for {error}, which no '
                         'batch needs') from error
    except Exception as error:  # A damaged pickle can raise nearly anything.
        raise InputError(f'{path} cannot be read as a pickled CIFAR-10 batch: {type(error).__name__}: '
                         f'{error}') from error
    if not (pixels.dtype == np.uint8 and pixels.shape == (len(labels), RECORD_BYTES - 1)
            and labels.dtype.kind in 'iu' and labels.min() >= 0 and labels.max() <= 9):
        raise InputError(f'{path} is no CIFAR-10 batch: it needs data, uint8 [N, 3072], and N labels from 0 '
                         'to 9')
    return np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1)


def _md5(data: bytes) -> str:
    # The sums guard against damage, not against an attacker; says so to FIPS builds of OpenSSL.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@DATASETS.register_module()
class CIFAR10(ArrayDataset):
    """The 60,000 images of CIFAR-10 with their labels.

    Both official versions are read, ``cifar-10-batches-bin/*.bin`` and ``cifar-10-batches-py/*``: the first
    one found, in ``data_root`` or as ``data_root`` itself. At every load each file is compared with its
    official md5 sum, a pickle before it is opened.

    The images lie in one array, ``images``, uint8 [N, 32, 32, 3] in RGB (154 MB for the 50,000 of training).
    An item is ``dict(img=uint8 [32, 32, 3] RGB, gt_label=int, sample_idx=index)``, where ``img`` is a copy,
    and ``index`` the very object that the sampler passed.

    Args:
        data_root: Folder of an official version, which ``python tools/prepare_data/cifar10.py`` makes.
        split: ``'train'`` (50,000 images) or ``'test'`` (10,000).
        num_images: Keep only so many images, the same number of each class: its first ones in the order of
            the files. Where the number does not divide, the first classes have one more. None keeps all.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`; ``indices`` count after
            ``num_images``.
    """

    METAINFO = {'classes': CLASSES}
    ROWS = ('images', 'labels')

    def __init__(self, data_root: str = 'data/cifar10', split: str = 'train', num_images: int | None = None,
                 **kwargs) -> None:
        if split not in BATCHES:
            raise InputError(f"split must be 'train' or 'test', got {split!r}")
        available = sum(batch.num_images for batch in BATCHES[split])
        if num_images is not None and not 1 <= num_images <= available:
            raise InputError(f'num_images must be from 1 to {available} for the {split} split (None for '
                             f'all), got {num_images}')
        self.split, self.num_images = split, num_images
        self.images, self.labels = np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64)
        super().__init__(data_root, **kwargs)

    def read(self) -> None:
        """Read and verify the batches of the first version of which a file is there."""
        root, batches = Path(self.data_root), BATCHES[self.split]
        mend = f'python tools/prepare_data/cifar10.py --data-root {shlex.quote(self.data_root)}'
        versions = ((BINARY_FOLDER, '.bin'), (PICKLE_FOLDER, ''), ('', '.bin'), ('', ''))
        for folder, suffix in ((root / inner, suffix) for inner, suffix in versions):
            if any((folder / f'{batch.name}{suffix}').is_file() for batch in batches):
                break
        else:
            first, state = batches[0].name, 'holds' if root.is_dir() else 'does not exist, so there is'
            raise MissingFileError(
                f'No CIFAR-10 {self.split} split: data_root {root.absolute()} {state} neither '
                f'{BINARY_FOLDER}/{first}.bin nor {PICKLE_FOLDER}/{first} (nor these files without their '
                f'folder). To prepare it: {mend}')
        self.images = np.empty((sum(batch.num_images for batch in batches), 32, 32, 3), np.uint8)
        self.labels = np.empty(len(self.images), np.int64)
        read_batch, end = (read_binary_batch if suffix else read_pickled_batch), 0
        for batch in batches:
            try:
                records = read_batch(folder / f'{batch.name}{suffix}', batch)
            except UserError as error:
                raise type(error)(f'{error}. To mend it: {mend}') from error
            start, end = end, end + batch.num_images
            self.images[start:end] = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            self.labels[start:end] = records[:, 0]
        if self.num_images is not None:
            self._keep(_balanced_subset(self.labels, self.num_images))

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline; a negative one counts from the end."""
        place = range(len(self.labels))[idx]
        # A copy, so that a transform working in place cannot change the dataset.
        return {'img': self.images[place].copy(), 'gt_label': int(self.labels[place]),
                'sample_idx': idx if idx >= 0 else place}


def _balanced_subset(labels: np.ndarray, num_images: int) -> np.ndarray:
    """Return the places of the first images of each class, ascending; others make up for a small class."""
    # An image's rank is its place among those of its class; the lowest ranks go first.
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.count_nonzero(labels == label))
    return np.sort(np.lexsort((labels, rank))[:num_images])
