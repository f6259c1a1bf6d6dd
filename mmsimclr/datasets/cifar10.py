"""CIFAR-10 from its official files, in memory."""

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.dataset import force_full_init

from mmsimclr.datasets.base import ArrayDataset
from mmsimclr.errors import InputError, MissingFileError, UserError, check_choice, check_int
from mmsimclr.files.unpickling import unpickle_arrays
from mmsimclr.registry import DATASETS

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
BINARY_FOLDER = 'cifar-10-batches-bin'
PICKLE_FOLDER = 'cifar-10-batches-py'
RECORD_BYTES = 1 + 3 * 32 * 32
# The official ones have about 31 MB.
MAX_PICKLE_BYTES = 40_000_000


@dataclass(frozen=True)
class Batch:
    """An official batch, and the md5 sums of both of its versions, as members of the official archives."""

    name: str
    num_images: int
    binary_md5: str
    pickle_md5: str


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


def versions_in(root: Path, batches: Sequence[Batch]) -> Iterator[tuple[Path, str]]:
    """Yield folder and suffix of each official version that has a file of these batches in ``root``."""
    for inner, suffix in ((BINARY_FOLDER, '.bin'), (PICKLE_FOLDER, ''), ('', '.bin'), ('', '')):
        if any((root / inner / f'{batch.name}{suffix}').is_file() for batch in batches):
            yield root / inner, suffix


def read_batch(path: Path, batch: Batch) -> np.ndarray:
    """Return the records of an official batch, ``NAME.bin`` or the pickle ``NAME``, uint8 [N, 3073].

    A record is the label, then the red, green and blue values. A pickle is opened after its md5 was compared,
    and nothing but arrays and plain containers can come out of it.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its size or md5 differs from the official one; the message names the file.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} is missing')
    is_binary = path.suffix == '.bin'
    num_bytes = batch.num_images * RECORD_BYTES if is_binary else MAX_PICKLE_BYTES
    size = path.stat().st_size
    if size > num_bytes or (is_binary and size < num_bytes):      # A large wrong file is not read at all.
        raise InputError(f'{path} is truncated or wrong: expected {num_bytes} bytes, got {size}')
    data, expected = path.read_bytes(), batch.binary_md5 if is_binary else batch.pickle_md5
    # The sums guard against damage, not against an attacker; says so to FIPS builds of OpenSSL.
    actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if actual != expected:
        raise InputError(f'{path} is truncated or wrong: expected md5 {expected}, got {actual}')
    if is_binary:
        return np.frombuffer(data, np.uint8).reshape(batch.num_images, RECORD_BYTES)
    content = {key.decode() if isinstance(key, bytes) else key: value
               for key, value in unpickle_arrays(data).items()}
    return np.concatenate([np.array(content['labels'], np.uint8)[:, None], content['data']], axis=1)


@DATASETS.register_module()
class CIFAR10(ArrayDataset):
    """The 60,000 images of CIFAR-10 with their labels.

    Both official versions are read, ``cifar-10-batches-bin/*.bin`` and ``cifar-10-batches-py/*``: the first
    one found, in ``data_root`` or as ``data_root`` itself. At every load each file is compared with its
    official md5 sum.

    The images lie in one array, ``images``, uint8 [N, 32, 32, 3] in RGB (154 MB for the 50,000 of training).
    An item is ``dict(img=uint8 [32, 32, 3] RGB, gt_label=int, sample_idx=index)``.

    Args:
        data_root: Folder of an official version, which ``mmsimclr prepare cifar10`` makes.
        split: ``'train'`` (50,000 images) or ``'test'`` (10,000).
        num_images: Keep only so many images, the first ones of each class; where the number does not divide,
            the first classes have one more. None keeps all. ``indices`` count after it.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    METAINFO = {'classes': CLASSES}
    ROWS = ('images', 'labels')

    def __init__(self, data_root: str = 'data/cifar10', split: str = 'train', num_images: int | None = None,
                 **kwargs) -> None:
        self.split = check_choice(split, 'split', BATCHES)
        available = sum(batch.num_images for batch in BATCHES[split])
        self.num_images = None if num_images is None else check_int(num_images, 'num_images', 1, available)
        self.images, self.labels = np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64)
        super().__init__(data_root, **kwargs)

    def read(self) -> None:
        """Read and verify the batches of the first version of which a file is there."""
        root, batches = Path(self.data_root), BATCHES[self.split]
        mend = f'mmsimclr prepare cifar10 --data-root {shlex.quote(self.data_root)}'
        folder, suffix = next(versions_in(root, batches), (None, ''))
        if folder is None:
            first, state = batches[0].name, 'holds' if root.is_dir() else 'does not exist, so there is'
            raise MissingFileError(
                f'No CIFAR-10 {self.split} split: data_root {root.absolute()} {state} neither '
                f'{BINARY_FOLDER}/{first}.bin nor {PICKLE_FOLDER}/{first} (nor these files without their '
                f'folder). To prepare it: {mend}')
        self.images = np.empty((sum(batch.num_images for batch in batches), 32, 32, 3), np.uint8)
        self.labels = np.empty(len(self.images), np.int64)
        end = 0
        for batch in batches:
            try:
                records = read_batch(folder / f'{batch.name}{suffix}', batch)
            except UserError as error:
                raise type(error)(f'{error}. To mend it: {mend}') from error
            start, end = end, end + batch.num_images
            self.images[start:end] = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            self.labels[start:end] = records[:, 0]
        if self.num_images is not None:
            # An image's rank is its place among those of its class; the lowest ranks go first.
            rank = np.empty(len(self.labels), np.int64)
            for label in np.unique(self.labels):
                of_class = self.labels == label
                rank[of_class] = np.arange(of_class.sum())
            chosen = np.sort(np.lexsort((self.labels, rank))[:self.num_images])
            self.images, self.labels = self.images[chosen], self.labels[chosen]

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return item ``idx`` as it enters the pipeline; a negative one counts from the end."""
        place = range(len(self.labels))[idx]
        # A copy, so that a transform working in place cannot change the dataset.
        return {'img': self.images[place].copy(), 'gt_label': int(self.labels[place]),
                'sample_idx': idx if idx >= 0 else place}
