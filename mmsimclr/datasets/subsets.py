"""Subsets of a dataset: balanced by class, or listed in a file."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsimclr.datasets.base import DatasetWrapper, labels_of
from mmsimclr.errors import InputError, MissingFileError, nearest_name
from mmsimclr.files import read_text
from mmsimclr.registry import DATASETS


class ImageSubset(DatasetWrapper, ABC):
    """Some of the images of another dataset, numbered anew, in that dataset's order.

    ``dataset`` is a config; ``pipeline`` replaces the dataset's, where it is given.
    """

    def __init__(self, dataset: Mapping[str, Any], pipeline: Sequence | None = None) -> None:
        super().__init__(dataset if pipeline is None else {**dataset, 'pipeline': pipeline})
        self.dataset.get_subset_(sorted(self.choose(self.dataset)))

    @abstractmethod
    def choose(self, dataset: Any) -> list[int]:
        """Return the places of the images to keep."""


@DATASETS.register_module()
class BalancedSubset(ImageSubset):
    """A share of another dataset's images, drawn from a seed, with the same number from each class.

    Args:
        dataset, pipeline: As :class:`ImageSubset` takes them.
        fraction: Share of all images, in ]0, 1], rounded to whole images; each class must give at least one.
        seed: Seed of the draw.
    """

    def __init__(self, dataset: Mapping[str, Any], fraction: float, seed: int = 0,
                 pipeline: Sequence | None = None) -> None:
        if not 0 < fraction <= 1:
            raise InputError(f'fraction must be in ]0, 1], got {fraction!r} (0.01 is 1 per cent)')
        self.fraction, self.seed = fraction, seed
        super().__init__(dataset, pipeline)

    def choose(self, dataset: Any) -> list[int]:
        labels = labels_of(dataset)
        classes = (dataset.metainfo or {}).get('classes')
        num_classes = len(classes) if classes else int(labels.max(initial=-1)) + 1
        return balanced_sample(labels, num_classes, round(self.fraction * len(labels)), self.seed)


def balanced_sample(labels: np.ndarray, num_classes: int, num_images: int, seed: int) -> list[int]:
    """Draw images of classes [N] without replacement, as many from each; return their places, ascending.

    Where the number does not divide by that of the classes, some classes, drawn too, give one more.
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


@DATASETS.register_module()
class ListedSubset(ImageSubset):
    """The images of another dataset that a text file names, one file name on each line.

    The official 1 % and 10 % of ImageNet are such lists (``n01440764_10074.JPEG``):
    ``mmsimclr prepare imagenet-subsets`` fetches them.

    Args:
        dataset, pipeline: As :class:`ImageSubset` takes them; the dataset's images are files.
        names: The text file; the dataset must have all that it names. Folders before a name do not count.
    """

    def __init__(self, dataset: Mapping[str, Any], names: str | Path,
                 pipeline: Sequence | None = None) -> None:
        self.names = Path(names)
        self._wanted = read_names(self.names)
        super().__init__(dataset, pipeline)

    def choose(self, dataset: Any) -> list[int]:
        kind = type(dataset).__name__
        places: dict[str, int] = {}
        for index in range(len(dataset)):
            path = dataset.get_data_info(index).get('img_path')
            if path is None:
                raise InputError(f'{kind} has no files, so {self.names} cannot name its images; use '
                                 'BalancedSubset')
            if places.setdefault(os.path.basename(path), index) != index:
                raise InputError(f'{kind} has several images named {os.path.basename(path)}, so {self.names} '
                                 'does not say which')
        missing = [name for name in self._wanted if name not in places]
        if missing:
            near = nearest_name(missing[0], list(places)[:10_000], cutoff=0.6)
            raise InputError(
                f'{len(missing)} of {len(self._wanted)} images listed in {self.names} are not in {kind} '
                f'({getattr(dataset, "data_root", "")}, {len(places)} images): {", ".join(missing[:3])}'
                f'{", ..." if len(missing) > 3 else ""}{f"; {near} is" if near else ""}. Name the list that '
                'was made for this data, or complete the data')
        return [places[name] for name in self._wanted]


def read_names(path: Path) -> list[str]:
    """Return the file names of a list; there is at least one, and none twice."""
    if not path.is_file():
        raise MissingFileError(f'no image list at {path}; for ImageNet make it with '
                               'mmsimclr prepare imagenet-subsets')
    lines = read_text(path, 'a list of images').splitlines()
    names = [os.path.basename(line.strip()) for line in lines if line.strip()]
    if not names:
        raise InputError(f'{path} names no images: it must have one file name on each line')
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f'{path} names {name} {count} times')
    return names
