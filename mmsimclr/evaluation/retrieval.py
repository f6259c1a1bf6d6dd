"""Retrieval: rankings of a gallery, CMC and mean average precision."""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError

NORMALISE = ('after', 'before', 'first')


def unit(rows: ndarray) -> ndarray:
    """Return rows [N, D] scaled to length 1, in single precision if theirs is no more.

    InputError if one is not finite.
    """
    if not np.isfinite(rows).all():
        raise InputError('a feature is not finite: the encoder diverged or its weights are damaged')
    rows = rows if rows.dtype == np.float64 else np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def sum_with_mirrored(rows: ndarray, mirrored: ndarray, normalise: str) -> ndarray:
    """Return unit features of images and their mirror images together, [N, D] each.

    ``normalise='after'`` scales the sum to length 1, ``'before'`` both parts and then the sum. ``'first'``
    scales the image's feature only, and then the sum: the mirror image mostly has more weight.
    """
    first = rows if normalise == 'after' else unit(rows)
    return unit(first + (unit(mirrored) if normalise == 'before' else mirrored))


def rank_gallery(queries: ndarray, gallery: ndarray, people: ndarray, gallery_people: ndarray, junk: ndarray,
                 views: ndarray | None = None, gallery_views: ndarray | None = None
                 ) -> tuple[list[ndarray], ndarray]:
    """Rank a gallery by the cosine of unit features, [Q, D] and [G, D]; of equals the earlier comes first.

    A ranking leaves out ``junk``, bool [G], and, if there are views, [Q] and [G], images of both the query's
    identity and its view. Return, for each query, the places from 0 of the images of its identity; and the
    gallery row that comes first, int64 [Q], -1 where all are left out.
    """
    places, best = [], []
    for query in range(len(queries)):
        right = gallery_people == people[query]
        counts = ~junk if views is None else ~junk & ~(right & (gallery_views == views[query]))
        counted = np.flatnonzero(counts)
        order = counted[np.argsort(-(gallery @ queries[query])[counted], kind='stable')]
        places.append(np.flatnonzero(right[order]))
        best.append(order[0] if len(order) else -1)
    return places, np.array(best)


def rank_accuracy(places: Sequence[ndarray], rank: int) -> float:
    """Return the queries with a right image among the first ``rank``, in percent."""
    return 100 * float(np.mean([len(found) > 0 and found[0] < rank for found in places]))


def mean_average_precision(places: Sequence[ndarray], trapezoid: bool) -> float:
    """Return the mean over queries of the mean precision at each right image, in percent.

    With ``trapezoid`` the precision is averaged with that just before the image, which is 1 at the start. A
    query without a right image counts as 0, as in the official code.

    Source: Zheng et al. 2015, Market-1501, ``compute_AP.m``: the area by the trapezoidal rule.
    """
    areas = []
    for found in places:
        before = np.arange(len(found))
        precision = (before + 1) / (found + 1)
        if trapezoid:
            precision = (precision + np.where(found > 0, before / np.maximum(found, 1), 1.0)) / 2
        areas.append(precision.mean() if len(found) else 0.0)
    return 100 * float(np.mean(areas))
