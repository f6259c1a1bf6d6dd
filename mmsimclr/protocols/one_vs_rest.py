"""Classes one against the rest: labels, which classes can be evaluated, predictions."""

from collections.abc import Sequence

import numpy as np

from mmsimclr.features import FeatureFiles
from mmsimclr.protocols.classification_metrics import require_same_classes
from mmsimclr.protocols.predictions import Predictions, feature_names


def multi_labels(labels: np.ndarray | None, num_classes: int, part: str) -> np.ndarray:
    """Return labels of several classes an image, int64 [N, K].

    Args:
        labels: int [N, K]: 1 present, 0 absent, -1 left out of the class; or one class an image, [N].
        num_classes: Number of classes K.
        part: Which images, for the message of an error.

    Raises:
        ValueError: If there are no labels, or they are something else.
    """
    if labels is None:
        raise ValueError(f'the {part} images have no labels; use a dataset that has')
    labels = np.asarray(labels)
    if labels.ndim == 1:
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(f'labels of the {part} images must be in [0, {num_classes}), got '
                             f'{labels.min()} to {labels.max()}')
        return (labels[:, None] == np.arange(num_classes)).astype(np.int64)
    if labels.ndim != 2 or labels.shape[1] != num_classes or not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError(f'labels of the {part} images must be [N], or [N, {num_classes}] of 1, 0 and -1, '
                         f'got shape {list(labels.shape)} with {np.unique(labels)[:6].tolist()}')
    return labels


def class_names(train: FeatureFiles, test: FeatureFiles) -> list[str]:
    """Return the names of the classes of two sets of features; their numbers where they have no names.

    Raises:
        ValueError: If the two are of different classes.
    """
    names, others = (list(part.manifest['images']['classes']) for part in (train, test))
    require_same_classes(names, others)
    if names:
        return names
    counts = [0 if part.labels is None else part.labels.shape[1] if part.labels.ndim == 2
              else int(part.labels.max()) + 1 for part in (train, test)]
    return [str(number) for number in range(max(counts))]


def unusable_classes(train: np.ndarray, test: np.ndarray, names: Sequence[str], minimum: int
                     ) -> dict[str, str]:
    """Return why some classes cannot be evaluated, by name.

    Args:
        train: Labels, int [N, K].
        test: Labels, int [M, K].
        names: Names of the K classes.
        minimum: Positive, and negative, training images needed of a class.

    Raises:
        ValueError: If no class can be evaluated.
    """
    reasons = {}
    for name, train_labels, test_labels in zip(names, train.T, test.T, strict=True):
        for labels, part, needed in ((train_labels, 'training', minimum), (test_labels, 'test', 1)):
            positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
            if min(positives, negatives) < needed:
                reasons.setdefault(name, f'{positives} positive and {negatives} negative {part} images; at '
                                         f'least {needed} of each are needed')
    if len(reasons) == len(names):
        raise ValueError('no class can be evaluated: ' + '; '.join(
            f'{name}: {reason}' for name, reason in list(reasons.items())[:3]))
    return reasons


def class_predictions(test: FeatureFiles, labels: np.ndarray, classes: list[int], scores: np.ndarray
                      ) -> Predictions:
    """Return scores [M, len(classes)] as predictions; no image counts for a class that was left out."""
    counted, all_scores = np.full(labels.shape, -1), np.zeros(labels.shape, np.float32)
    counted[:, classes], all_scores[:, classes] = labels[:, classes], scores
    return Predictions(counted, all_scores, feature_names(test))
