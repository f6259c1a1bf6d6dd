"""Some of the images of another dataset."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmsimclr.registry import DATASETS


class ImageSubset(Dataset, ABC):
    """Some of the images of another dataset, numbered anew, in that dataset's order.

    Args:
        dataset: Config of a dataset with MMEngine's ``get_data_info`` and ``get_subset_``, as MMEngine,
            mmpretrain and mmsimclr have them.
        pipeline: In place of the dataset's, where it is given.
    """

    def __init__(self, dataset: Mapping[str, Any], pipeline: Sequence | None = None) -> None:
        config = dict(dataset) if pipeline is None else {**dataset, 'pipeline': pipeline}
        self.dataset = DATASETS.build(config)
        self.dataset.full_init()
        self.dataset.get_subset_(sorted(self.choose(self.dataset)))

    @abstractmethod
    def choose(self, dataset: Any) -> list[int]:
        """Return the places of the images to keep."""

    @property
    def metainfo(self) -> dict:
        """The dataset's, all of its classes among it."""
        return self.dataset.metainfo

    @property
    def data_root(self) -> str:
        """The dataset's."""
        return getattr(self.dataset, 'data_root', '')

    def full_init(self) -> None:
        """Do nothing: all is there from the beginning."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return item ``index`` after the pipeline."""
        return self.dataset[index]

    def get_data_info(self, index: int) -> dict:
        """Return item ``index`` before the pipeline."""
        return self.dataset.get_data_info(index)

    def get_gt_labels(self) -> np.ndarray:
        """Return the class of every image, int64 [N]."""
        return labels_of(self.dataset)


def labels_of(dataset: Any) -> np.ndarray:
    """Return the class of every image of a dataset, int64 [N].

    Raises:
        ValueError: If an image has no ``gt_label``, or it is not one class.
    """
    # The fast way, where there is one; mmpretrain's datasets, CIFAR10 and Shapes have it.
    if hasattr(dataset, 'get_gt_labels'):
        labels = dataset.get_gt_labels()
    else:
        labels = np.array([dataset.get_data_info(i).get('gt_label', -1) for i in range(len(dataset))])
    if labels.ndim != 1 or labels.dtype.kind not in 'iu' or (len(labels) and labels.min() < 0):
        raise ValueError(f'every image of {type(dataset).__name__} must have one class as gt_label, an '
                         f'integer >= 0; got labels {labels.dtype} {list(labels.shape)}')
    return labels.astype(np.int64)
