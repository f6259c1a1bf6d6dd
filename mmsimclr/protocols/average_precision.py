"""Average precision: the area under the interpolated precision-recall curve."""

import numpy as np


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision of scores for one class.

    Images of one score are retrieved together, so that the order of the images decides nothing: scores
    that say nothing give the share of positives, which is chance.

    Args:
        labels: int [N]: 1 where the class is present, 0 where it is absent, -1 where the image does not
            count.
        scores: Float [N]; the higher, the surer.

    Returns:
        From 0 to 1: the sum over recall levels of the step in recall times the largest precision at this
        or a larger recall.

    Raises:
        ValueError: If shapes differ, a label is something else, a score that counts is not finite, or no
            image is positive.

    Source:
        Everingham et al. 2010, "The PASCAL Visual Object Classes Challenge", as of 2010: all recall levels,
        not eleven.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError('labels and scores must be [N] both, got shapes '
                         f'{list(labels.shape)} and {list(scores.shape)}')
    if not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError(f'labels must be 1, 0 or -1, got {np.setdiff1d(labels, (-1, 0, 1)).tolist()[:5]}')
    positive, scores = labels[labels >= 0] == 1, scores[labels >= 0]
    if not np.isfinite(scores).all():
        raise ValueError('a score is not finite')
    if not positive.any():
        raise ValueError('average precision needs at least one positive image')
    order = np.argsort(-scores, kind='stable')
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)        # last of each score
    found = np.cumsum(positive[order])[ends]
    best = np.maximum.accumulate((found / (ends + 1))[::-1])[::-1]
    return float(np.diff(found, prepend=0) @ best / found[-1])
