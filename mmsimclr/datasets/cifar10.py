"""CIFAR-10 from its official files, in memory."""

import copy
import shlex
from pathlib import Path
from typing import Callable, Mapping, Sequence

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from mmsimclr.datasets.cifar10_format import (
    BATCHES,
    BINARY_FOLDER,
    CLASSES,
    PICKLE_FOLDER,
    decode_images,
    read_binary_batch,
    read_official_pickle,
)
from mmsimclr.registry import DATASETS


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
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        available = sum(batch.num_images for batch in BATCHES[split])
        if num_images is not None and not 1 <= num_images <= available:
            raise ValueError(f'num_images must be from 1 to {available} for the {split} split '
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
        raise FileNotFoundError(
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
