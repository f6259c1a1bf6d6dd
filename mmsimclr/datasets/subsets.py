"""Subsets of a dataset: balanced by class, or listed in a file."""

import difflib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmsimclr.errors import InputError, MissingFileError
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
        raise InputError(f'every image of {type(dataset).__name__} must have one class as gt_label, an '
                         f'integer >= 0; got labels {labels.dtype} {list(labels.shape)}')
    return labels.astype(np.int64)


@DATASETS.register_module()
class BalancedSubset(ImageSubset):
    """A share of another dataset's images, drawn from a seed, as many of each class.

    Args:
        dataset: Config of the dataset, as :class:`ImageSubset` takes it.
        fraction: Share of all images, in ]0, 1], rounded to whole images.
        seed: Decides which images.
        pipeline: In place of the dataset's, where it is given.

    Raises:
        ValueError: If the fraction is out of range or leaves a class without image, or a class has too few
            images.
    """

    def __init__(self, dataset: Mapping[str, Any], fraction: float, seed: int = 0,
                 pipeline: Sequence | None = None) -> None:
        if not 0 < fraction <= 1:
            raise InputError(f'fraction must be in ]0, 1], got {fraction!r} (0.01 is 1 per cent)')
        self.fraction, self.seed = fraction, seed
        super().__init__(dataset, pipeline)

    def choose(self, dataset: Any) -> list[int]:
        """Draw the images; the names of the classes say how many classes there must be."""
        labels = labels_of(dataset)
        classes = (dataset.metainfo or {}).get('classes')
        num_classes = len(classes) if classes else int(labels.max(initial=-1)) + 1
        return balanced_sample(labels, num_classes, round(self.fraction * len(labels)), self.seed)


def balanced_sample(labels: np.ndarray, num_classes: int, num_images: int, seed: int) -> list[int]:
    """Draw images without replacement, as many of each class.

    Where the number does not divide by that of the classes, some classes, drawn too, give one more.

    Args:
        labels: Class of each image, int64 [N].
        num_classes: Number of classes K.
        num_images: How many to draw, >= K.
        seed: Decides which.

    Returns:
        Their places, ascending.

    Raises:
        ValueError: If there are fewer images to draw than classes, or a class has too few.
    """
    if num_images < num_classes or num_classes == 0:
        raise InputError(f'{num_images} of {len(labels)} images are less than one for each of {num_classes} '
                         'classes; raise fraction')
    generator = np.random.default_rng(seed)
    wanted = np.full(num_classes, num_images // num_classes)
    wanted[generator.permutation(num_classes)[:num_images % num_classes]] += 1
    chosen = []
    for label, count in enumerate(wanted):
        members = np.flatnonzero(labels == label)
        if len(members) < count:
            raise InputError(f'class {label} has {len(members)} images and a balanced sample of {num_images} '
                             f'from {num_classes} classes needs {count}; lower fraction')
        chosen += generator.choice(members, count, replace=False).tolist()
    return sorted(chosen)


AT_MOST = 3


@DATASETS.register_module()
class ListedSubset(ImageSubset):
    """The images of another dataset that a text file names, one file name on each line.

    The official 1 % and 10 % of ImageNet are such lists (``n01440764_10074.JPEG``):
    ``python tools/prepare_data/imagenet_subsets.py`` brings them.

    Args:
        dataset: Config of the dataset, as :class:`ImageSubset` takes it; its images are files.
        names: The text file. Folders before a name are passed over.
        pipeline: In place of the dataset's, where it is given.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty, names an image twice, or one that the dataset does not have.
    """

    def __init__(self, dataset: Mapping[str, Any], names: str | Path,
                 pipeline: Sequence | None = None) -> None:
        self.names = Path(names)
        self._wanted = read_names(self.names)
        super().__init__(dataset, pipeline)

    def choose(self, dataset: Any) -> list[int]:
        """Find the listed names among the dataset's files."""
        places: dict[str, int] = {}
        for index in range(len(dataset)):
            path = dataset.get_data_info(index).get('img_path')
            if path is None:
                raise InputError(f'{type(dataset).__name__} has no files, so {self.names} cannot name its '
                                 'images; use BalancedSubset')
            if places.setdefault(os.path.basename(path), index) != index:
                raise InputError(f'{type(dataset).__name__} has several images named '
                                 f'{os.path.basename(path)}, so {self.names} does not say which')
        missing = [name for name in self._wanted if name not in places]
        if missing:
            near = difflib.get_close_matches(missing[0], list(places)[:10_000], n=1, cutoff=0.6)
            raise InputError(
                f'{len(missing)} of {len(self._wanted)} images listed in {self.names} are not in '
                f'{type(dataset).__name__} ({getattr(dataset, "data_root", "")}, {len(places)} images): '
                f'{", ".join(missing[:AT_MOST])}{", ..." if len(missing) > AT_MOST else ""}'
                + (f'; {near[0]} is' if near else '') + '. Name the list that was made for this data, or '
                'complete the data')
        return [places[name] for name in self._wanted]


def read_names(path: Path) -> list[str]:
    """Return the file names of a list.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty or names an image twice.
    """
    if not path.is_file():
        raise MissingFileError(f'no image list at {path}; for ImageNet make it with '
                               'python tools/prepare_data/imagenet_subsets.py')
    lines = path.read_text(encoding='utf-8').splitlines()
    names = [os.path.basename(line.strip()) for line in lines if line.strip()]
    if not names:
        raise InputError(f'{path} names no images: it must have one file name on each line')
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f'{path} names {name} {count} times')
    return names
