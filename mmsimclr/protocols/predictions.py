"""What a protocol predicted for each image, kept so that two results can be compared image by image."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsimclr.features import FeatureFiles
from mmsimclr.files import atomic_writer

FILE_NAME = 'predictions.npz'


@dataclass(frozen=True)
class Predictions:
    """Predictions for N images, in the order of their dataset.

    Attributes:
        labels: The truth: classes, int64 [N]; or for several classes an image, int64 [N, K] with 1 where
            the class is present, 0 where it is absent and -1 where the image does not count for it.
        predicted: Predicted classes, int64 [N]; or scores, float32 [N, K], for labels [N, K].
        images: Names of the images, str [N]; their numbers where they have no names.
    """

    labels: np.ndarray
    predicted: np.ndarray
    images: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.labels) == len(self.predicted) == len(self.images) or \
                self.labels.shape != self.predicted.shape:
            raise ValueError('labels, predicted and images must be of the same images, got shapes '
                             f'{self.labels.shape}, {self.predicted.shape} and {self.images.shape}')

    def write(self, folder: str | Path) -> Path:
        """Write ``predictions.npz`` into a folder, whole or not at all; return its path."""
        path = Path(folder) / FILE_NAME
        with atomic_writer(path) as file:
            np.savez_compressed(file, labels=self.labels, predicted=self.predicted, images=self.images)
        return path


def names_below(root: str | None, paths: np.ndarray | None, num_images: int) -> np.ndarray:
    """Return the images' paths below the root of their data, str [N]; their numbers where they have no files.

    So two results on the same images compare wherever the data lay.

    Args:
        root: Folder of the data; None or empty leaves the paths as they are.
        paths: The images' files, str [N], or None.
        num_images: How many they are.
    """
    if paths is None:
        return np.arange(num_images).astype(str)
    prefix = os.path.join(root, '') if root else ''
    return np.array([str(path).removeprefix(prefix) for path in paths])


def feature_names(features: FeatureFiles) -> np.ndarray:
    """Return the names of the images that features are of, str [N], as :func:`names_below` makes them.

    Their paths are those of the data when they were extracted, which may have lain elsewhere.
    """
    return names_below(features.manifest['images'].get('root'), features.paths, len(features))


def read_predictions(path: str | Path) -> Predictions:
    """Read what :meth:`Predictions.write` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no predictions at {path}')
    try:
        with np.load(path, allow_pickle=False) as archive:
            return Predictions(**{name: archive[name] for name in archive.files})
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise ValueError(f'{path} holds no predictions: {error}') from error
