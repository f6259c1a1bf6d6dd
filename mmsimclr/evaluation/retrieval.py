"""Retrieval: rankings of a gallery, CMC and mean average precision."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError

CHUNK_VALUES = 2 ** 24                                                      # similarities in memory at a time
NORMALISE = ('after', 'before', 'first')


def unit(rows: ndarray) -> ndarray:
    """Return rows [N, D] scaled to length 1; InputError if one is not finite."""
    if not np.isfinite(rows).all():
        raise InputError('a feature is not finite: the encoder diverged or its weights are damaged')
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def sum_with_mirrored(rows: ndarray, mirrored: ndarray, normalise: str) -> ndarray:
    """Return unit features of images and their mirror images together, [N, D] each.

    ``normalise='after'`` scales the sum to length 1, ``'before'`` both parts and then the sum. ``'first'``
    scales the image's feature only, and then the sum: the mirror image mostly has more weight.
    """
    first = rows if normalise == 'after' else unit(rows)
    return unit(first + (unit(mirrored) if normalise == 'before' else mirrored))


def group_means(rows: ndarray, groups: ndarray, wanted: ndarray, otherwise: ndarray) -> ndarray:
    """Return the mean of the rows of each wanted group; where it has none, the row of ``otherwise``."""
    means = [rows[groups == group].mean(axis=0) if (groups == group).any() else row
             for group, row in zip(wanted, otherwise, strict=True)]
    return np.array(means, rows.dtype)


@dataclass(frozen=True)
class Rankings:
    """Places, from 0, of the right images in the ranking of each of Q queries."""

    places: list[ndarray]
    best: ndarray                               # gallery row that ranks first, int64 [Q]; -1 if none counts

    def cmc(self, rank: int) -> float:
        """Return the queries with a right image among the first ``rank``, in percent."""
        return 100 * float(np.mean([len(found) > 0 and found[0] < rank for found in self.places]))

    def mean_average_precision(self, trapezoid: bool = False) -> float:
        """Return the mean over queries of the mean precision at each right image, in percent.

        With ``trapezoid`` the precision is averaged with that just before the image, which is 1 at the start.
        A query without a right image counts as 0, as in the official code.

        Source:
            Zheng et al. 2015, Market-1501, ``compute_AP.m``: the area by the trapezoidal rule.
        """
        return 100 * float(np.mean([_average_precision(found, trapezoid) for found in self.places]))


def _average_precision(places: ndarray, trapezoid: bool) -> float:
    if not len(places):
        return 0.0
    before = np.arange(len(places))
    precision = (before + 1) / (places + 1)
    if trapezoid:
        precision = (precision + np.where(places > 0, before / np.maximum(places, 1), 1.0)) / 2
    return float(precision.mean())


def rank_gallery(queries: ndarray, gallery: ndarray, query_labels: ndarray, gallery_labels: ndarray,
                 query_views: ndarray | None = None, gallery_views: ndarray | None = None) -> Rankings:
    """Rank a gallery for each query by the cosine of unit features, the earlier of equals first.

    Args:
        queries: Unit features, float [Q, D].
        gallery: Unit features, float [G, D].
        query_labels: Identities, int [Q].
        gallery_labels: Identities, int [G]; images of -1 are junk, left out of every ranking.
        query_views: int [Q]: gallery images of the query's identity and view are left out of its ranking.
        gallery_views: int [G].
    """
    places, best, step = [], [], max(1, CHUNK_VALUES // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        for query, scores in enumerate(queries[start:start + step] @ gallery.T, start):
            right = gallery_labels == query_labels[query]
            counts = gallery_labels != -1
            if query_views is not None:
                counts &= ~(right & (gallery_views == query_views[query]))
            counted = np.flatnonzero(counts)
            order = counted[np.argsort(-scores[counted], kind='stable')]
            places.append(np.flatnonzero(right[order]))
            best.append(order[0] if len(order) else -1)
    return Rankings(places, np.array(best))
