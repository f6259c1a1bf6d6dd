"""Classification metrics: accuracy, mean per-class accuracy, average precision."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError


def top_1_accuracy(labels: ndarray, predicted: ndarray) -> float:
    """Return the share of right predictions, in percent, of true and predicted classes, int64 [N] each."""
    _check_same_shape(labels, predicted, 1)
    return 100.0 * float((labels == predicted).mean())


def mean_class_accuracy(labels: ndarray, predicted: ndarray) -> float:
    """Return the accuracy averaged over the classes that have test images, in percent."""
    _check_same_shape(labels, predicted, 1)
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 100.0 * float((np.bincount(places, weights=labels == predicted) / counts).mean())


def average_precision(labels: ndarray, scores: ndarray) -> float:
    """Return the average precision of scores for one class, from 0 to 1.

    It is the sum over recall levels of the step in recall times the largest precision at this or a larger
    recall. Images of one score are retrieved together. Labels are int [N]: 1 present, 0 absent, -1 left out;
    scores are float [N], the higher, the surer. ValueError if they do not fit, or no image is positive.

    Source:
        Everingham et al. 2010, in the form used since 2010: all recall levels, not eleven.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise InputError('labels and scores must be [N] both, got shapes '
                         f'{list(labels.shape)} and {list(scores.shape)}')
    if not np.isin(labels, (-1, 0, 1)).all():
        raise InputError(f'labels must be 1, 0 or -1, got {np.setdiff1d(labels, (-1, 0, 1)).tolist()[:5]}')
    if not np.isfinite(scores[labels >= 0]).all():
        raise InputError('a score is not finite')
    if not (labels == 1).any():
        raise InputError('average precision needs at least one positive image')
    found, best = _interpolated_precision(labels, scores)
    return float(np.diff(found, prepend=0) @ best / found[-1])


def eleven_point_average_precision(labels: ndarray, scores: ndarray) -> float:
    """Return the mean, over recalls 0, 0.1 ... 1, of the best precision at that recall or more, 0 to 1.

    Images of one score are retrieved together; the development kit takes them in the order of the file.
    Labels, one of them positive at least, and scores are as of :func:`average_precision`.

    Source:
        Everingham et al. 2010, The PASCAL Visual Object Classes (VOC) Challenge, section 4.2.
    """
    found, best = _interpolated_precision(labels, scores)
    # In whole positives: as a quotient, 0.3 of recall might be missed by rounding.
    first = np.searchsorted(10 * found, np.arange(11) * found[-1])
    return float(best[first].mean())


def _interpolated_precision(labels: ndarray, scores: ndarray) -> tuple[ndarray, ndarray]:
    """Return, for each score from the highest, the positives found and the best precision from there on."""
    positive, scores = labels[labels >= 0] == 1, scores[labels >= 0]
    order = np.argsort(-scores, kind='stable')
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)        # last of each score
    found = np.cumsum(positive[order])[ends]
    return found, np.maximum.accumulate((found / (ends + 1))[::-1])[::-1]


def mean_average_precision(labels: ndarray, scores: ndarray) -> float:
    """Return the :func:`average_precision` of each class, averaged over classes, in percent.

    Labels are int64 [N, K]: 1 present, 0 absent, -1 left out of the class. Scores are float [N, K].
    """
    return _mean_over_classes(average_precision, labels, scores)


def eleven_point_map(labels: ndarray, scores: ndarray) -> float:
    """Return the 11-point average precision of each class, averaged over classes, in percent.

    Labels, scores and errors are as of :func:`mean_average_precision`.
    """
    return _mean_over_classes(eleven_point_average_precision, labels, scores)


def multi_label_accuracy(labels: ndarray, scores: ndarray) -> float:
    """Return the share of right answers, class by class, of images of several classes, in percent.

    A class is said to be present where its score is > 0, which is even odds of a logistic regression and the
    boundary of an SVM. Labels and scores are as of :func:`mean_average_precision`.
    """
    _check_same_shape(labels, scores, 2)
    return 100.0 * float(right_answers(labels, scores).sum() / (labels >= 0).sum())


def right_answers(labels: ndarray, scores: ndarray) -> ndarray:
    """Return where a label that counts is answered rightly, bool [N, K]; see :func:`multi_label_accuracy`."""
    return ((scores > 0) == (labels == 1)) & (labels >= 0)


#: Metrics by name, the unit being the suffix; each takes labels and predictions as in ``Predictions``.
METRICS: Mapping[str, Callable[[ndarray, ndarray], float]] = {
    'top_1_accuracy_percent': top_1_accuracy,
    'mean_class_accuracy_percent': mean_class_accuracy,
    '11_point_map_percent': eleven_point_map,
    'map_percent': mean_average_precision,
    'multi_label_accuracy_percent': multi_label_accuracy,
}
#: Those for images of several classes, and only for these.
MULTI_LABEL_METRICS = ('11_point_map_percent', 'map_percent', 'multi_label_accuracy_percent')


def require_same_classes(train: Sequence[str], test: Sequence[str]) -> None:
    """Refuse training and test images if the names of their classes, or the order of the names, differ."""
    if list(train) != list(test):
        different = sorted(map(str, {*train} ^ {*test}))
        raise InputError(
            'training and test images are of different classes, so their labels do not mean the same: '
            f'{len(train)} and {len(test)} classes; '
            + (f'only one has {", ".join(different[:5])}' if different else 'the order differs'))


def _mean_over_classes(measure: Callable, labels: ndarray, scores: ndarray) -> float:
    _check_same_shape(labels, scores, 2)
    if not np.isfinite(scores).all():
        raise InputError('a score is not finite: the classifier diverged')
    missing = np.flatnonzero(~(labels == 1).any(axis=0))
    if len(missing):
        raise InputError('average precision needs a positive image of each class; classes '
                         f'{missing.tolist()} have none in the test')
    return 100.0 * float(np.mean([measure(*pair) for pair in zip(labels.T, scores.T, strict=True)]))


def _check_same_shape(labels: ndarray, predicted: ndarray, num_dims: int) -> None:
    if labels.shape != predicted.shape or labels.ndim != num_dims or not len(labels):
        raise InputError(f'labels and predictions must have the same {num_dims} dimension(s) and at least '
                         f'one image, got shapes {list(labels.shape)} and {list(predicted.shape)}')
