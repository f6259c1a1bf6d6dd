"""A share of a dataset's images, as many of each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsimclr.datasets.image_subset import ImageSubset, labels_of
from mmsimclr.registry import DATASETS


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
            raise ValueError(f'fraction must be in ]0, 1], got {fraction!r} (0.01 is 1 per cent)')
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
        raise ValueError(f'{num_images} of {len(labels)} images are less than one for each of {num_classes} '
                         'classes; raise fraction')
    generator = np.random.default_rng(seed)
    wanted = np.full(num_classes, num_images // num_classes)
    wanted[generator.permutation(num_classes)[:num_images % num_classes]] += 1
    chosen = []
    for label, count in enumerate(wanted):
        members = np.flatnonzero(labels == label)
        if len(members) < count:
            raise ValueError(f'class {label} has {len(members)} images and a balanced sample of {num_images} '
                             f'from {num_classes} classes needs {count}; lower fraction')
        chosen += generator.choice(members, count, replace=False).tolist()
    return sorted(chosen)
