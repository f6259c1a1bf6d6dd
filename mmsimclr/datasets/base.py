"""Base classes: datasets read from files, datasets held in arrays, and wrappers around another dataset."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init
from torch.utils.data import Dataset

from mmsimclr.errors import InputError
from mmsimclr.files import RemoteFolder, is_remote
from mmsimclr.registry import DATASETS


class FileDataset(BaseDataset):
    """Base of datasets read from files: MMEngine's, with the arguments that make sense for them.

    ``indices`` keeps the first (``n``) or the last (``-n``) images only, or those listed. MissingFileError if
    the folder or a file is missing; the message says where to get it.
    """

    def __init__(self, data_root: str, pipeline: Sequence[dict | Callable] = (),
                 metainfo: Mapping | None = None, indices: int | Sequence[int] | None = None,
                 test_mode: bool = False, lazy_init: bool = False) -> None:
        self._remote = RemoteFolder(str(data_root)) if is_remote(data_root) else None
        super().__init__(data_root=str(data_root), pipeline=list(pipeline), metainfo=metainfo,
                         indices=indices, test_mode=test_mode, lazy_init=lazy_init)

    def _join_prefix(self) -> None:
        if not self._remote:                                    # of whose addresses MMEngine knows others
            super()._join_prefix()

    def __getitems__(self, indices: Sequence[int]) -> list:
        """Return several items; torch's loader calls it with all indices of a batch."""
        self.expect(indices)
        return [self[index] for index in indices]

    def expect(self, indices: Sequence[int]) -> None:
        """Begin to read items that will be asked for next, if they are not on this machine."""
        if self._fully_initialized and self._remote:
            self._remote.read_ahead(self._range(int(index)) for index in indices)

    def _range(self, place: int) -> tuple[str, int, int | None]:
        """Return the file of an item, its first byte there, and its length, None for the whole file."""
        raise NotImplementedError


class ArrayDataset(FileDataset):
    """Base of datasets held in arrays with a row for each image; forked data-loader workers share them.

    A subclass names its arrays in ``ROWS``, ``labels`` among them (int64 [N], -1 for none), and fills them in
    ``read``.
    """

    ROWS = ('labels',)

    def read(self) -> None:
        raise NotImplementedError

    def full_init(self) -> None:
        if not self._fully_initialized:
            self.read()
            self._fully_initialized = True
            if self._indices is not None:
                self.get_subset_(self._indices)

    @force_full_init
    def __len__(self) -> int:
        return len(self.labels)

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return the class of every image, int64 [N]; -1 where there is none."""
        return self.labels.copy()

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the class of image ``idx`` in a list, as MMEngine's wrappers expect."""
        return [int(self.labels[idx])]

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only the first (``n``) or last (``-n``) images, or those listed."""
        if isinstance(indices, (int, np.integer)):
            chosen = slice(indices) if indices >= 0 else slice(indices, None)
        else:
            chosen = np.asarray(indices, np.int64)
        for name in self.ROWS:
            setattr(self, name, getattr(self, name)[chosen])

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> 'ArrayDataset':
        """Return a dataset of what ``get_subset_`` would keep."""
        subset = copy.copy(self)
        subset.pipeline = copy.deepcopy(self.pipeline)
        subset.get_subset_(indices)
        return subset


class DatasetWrapper(Dataset):
    """Base of datasets that take images, meta information, folder and length from another one.

    ``dataset`` is that one or its config. It has MMEngine's ``get_data_info``.
    """

    def __init__(self, dataset: Mapping[str, Any] | Dataset) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.full_init()

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    @property
    def data_root(self) -> str:
        return getattr(self.dataset, 'data_root', '')

    def full_init(self) -> None:
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: Sequence[int]) -> list:
        """Return several items, which the inner dataset may prepare for."""
        if hasattr(self.dataset, 'expect'):
            self.dataset.expect(indices)
        return [self[index] for index in indices]

    def get_data_info(self, index: int) -> dict:
        """Return item ``index`` before the pipeline."""
        return self.dataset.get_data_info(index)

    def get_gt_labels(self) -> np.ndarray:
        """Return the class of every image, int64 [N]."""
        return labels_of(self.dataset)


def labels_of(dataset: Any) -> np.ndarray:
    """Return the class of every image of a dataset, int64 [N]; each must have one ``gt_label``."""
    if hasattr(dataset, 'get_gt_labels'):      # the fast way, of mmpretrain's datasets, CIFAR10 and Shapes
        labels = dataset.get_gt_labels()
    else:
        labels = np.array([dataset.get_data_info(i).get('gt_label', -1) for i in range(len(dataset))])
    if labels.ndim != 1 or labels.dtype.kind not in 'iu' or (len(labels) and labels.min() < 0):
        raise InputError(f'every image of {type(dataset).__name__} must have one class as gt_label, an '
                         f'integer >= 0; got labels {labels.dtype} {list(labels.shape)}')
    return labels.astype(np.int64)
