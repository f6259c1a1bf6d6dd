"""Structure of features: neighbours, near-duplicates, outliers, clusters, a diverse subset, a map."""

import logging
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from mmsimclr.errors import InputError
from mmsimclr.evaluation.knn import nearest_neighbours
from mmsimclr.evaluation.retrieval import unit

#: Cosine above which two images may be the same picture.
DUPLICATE_SIMILARITY = 0.9
#: Numbers of clusters that are tried; two halves of everything would tell little.
MIN_CLUSTERS, MAX_CLUSTERS = 5, 20
CLUSTERED, MAX_MAP_DIMS = 2000, 50
NEEDED = 4                                                  # images, for clusters and a map to mean something


def neighbours(features: ndarray, k: int) -> tuple[ndarray, ndarray]:
    """Return the other images that are nearest to each by cosine: similarities, float32, and rows, [N, k].

    Args:
        features: Float [N, D]; may be memory-mapped.
        k: Number of neighbours; at most N - 1 are returned.
    """
    similarity, rows = (found.numpy() for found in nearest_neighbours(features, features, k + 1))
    # An image is its own neighbour, though not always the first: copies are as near.
    itself = rows == np.arange(len(rows))[:, None]
    itself[~itself.any(axis=1), -1] = True
    kept = ~itself
    return similarity[kept].reshape(len(rows), -1), rows[kept].reshape(len(rows), -1)


def near_duplicates(similarity: ndarray, rows: ndarray, thumbnails: ndarray) -> ndarray:
    """Return pairs of images that show the same picture, int64 [M, 2], the first number below the second.

    Their features have a cosine of at least :data:`DUPLICATE_SIMILARITY`. Features alone do not tell copies
    from pictures that the encoder takes for alike, so their pixels must agree too: the root mean squared
    difference is at most a fifth of their contrast, which is a correlation of 0.98, and at most 8 grey
    levels; 1 level is always allowed.

    Args:
        similarity: Of the nearest other images of each, as :func:`neighbours` returns them.
        rows: These images.
        thumbnails: Uint8 [N, h, w, 3], of a few pixels a side, so that the noise of compression averages out.
    """
    first, place = np.nonzero(similarity >= DUPLICATE_SIMILARITY)
    pairs = np.unique(np.sort(np.stack([first, rows[first, place]], axis=1), axis=1), axis=0)
    if not len(pairs):
        return pairs
    same = [same_picture(thumbnails[part[:, 0]], thumbnails[part[:, 1]])
            for part in np.array_split(pairs, 1 + len(pairs) // 4096)]
    return pairs[np.concatenate(same)]


def same_picture(a: ndarray, b: ndarray) -> ndarray:
    """Return whether thumbnails [M, h, w, 3] show the same pictures as others, bool [M]."""
    a, b = (part.reshape(len(part), -1).astype(np.float32) for part in (a, b))
    difference = np.sqrt(((a - b) ** 2).mean(axis=1))
    return difference <= np.clip(0.2 * np.minimum(a.std(axis=1), b.std(axis=1)), 1, 8)


def groups_of(pairs: ndarray, num_images: int) -> list[list[int]]:
    """Return the images that pairs connect, in groups of two or more, the largest first."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(num_images, num_images))
    _, group = connected_components(graph, directed=False)
    members = np.split(np.argsort(group, kind='stable'), np.cumsum(np.bincount(group))[:-1])
    return sorted((part.tolist() for part in members if len(part) > 1), key=lambda part: (-len(part), part))


def distances(similarity: ndarray, k: int = 20) -> ndarray:
    """Return how far the k-th neighbour of each image is, 1 - cosine, float32 [N]; large means outlier.

    Up to k images that are like each other and like nothing else still count as outliers.

    Source:
        Ramaswamy et al. 2000, Efficient algorithms for mining outliers.
    """
    return 1 - similarity[:, min(k, similarity.shape[1]) - 1]


def clusters(features: ndarray, count: int | None = None, seed: int = 0) -> ndarray:
    """Return the cluster of each image by k-means, int64 [N]; cluster 0 is the largest.

    Features are scaled to length 1. Centres are those of up to 2,000 evenly spaced images. Without a
    ``count``, that of 5 to 20 with the largest silhouette is taken (Rousseeuw 1987).
    """
    rows = _reduced(unit(features), seed)
    if len(rows) < NEEDED:
        return np.zeros(len(rows), np.int64)
    chosen = np.linspace(0, len(rows) - 1, min(CLUSTERED, len(rows))).round().astype(int)

    def fitted(number: int) -> KMeans:
        return KMeans(number, n_init=4, random_state=seed).fit(rows[chosen])

    def silhouette(number: int) -> float:
        labels = fitted(number).labels_
        return silhouette_score(rows[chosen], labels) if 1 < len(set(labels)) < len(chosen) else -1.0

    if count is None:
        last = min(MAX_CLUSTERS, len(chosen) - 1)
        count = max(range(min(MIN_CLUSTERS, last), last + 1), key=silhouette)
    labels = fitted(min(count, len(chosen))).predict(rows)
    order = np.argsort(-np.bincount(labels, minlength=count), kind='stable')
    return np.argsort(order)[labels]


def diverse_subset(features: ndarray, size: int) -> ndarray:
    """Return images of which each is the farthest from those before it, int64 [size].

    The first is the nearest to the mean. This greedy choice covers all images with at most twice the radius
    of the best choice. Distances are of features scaled to length 1.

    Source:
        Gonzalez 1985, Clustering to minimize the maximum intercluster distance; Sener and Savarese 2018.
    """
    rows = unit(features)
    chosen = [int((rows @ rows.mean(axis=0)).argmax())]
    nearest = rows @ rows[chosen[0]]
    while len(chosen) < min(size, len(rows)):
        nearest[chosen[-1]] = np.inf
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, rows @ rows[chosen[-1]])
    return np.array(chosen)


def default_map(num_images: int) -> str:
    """Return 'pacmap' where it is installed, otherwise 'tsne'; 'pca' where images are too few for both."""
    return 'pca' if num_images < 3 * NEEDED else 'pacmap' if find_spec('pacmap') else 'tsne'


def embedding_map(features: ndarray, method: str, seed: int = 0) -> ndarray:
    """Return features as points of a map, float32 [N, 2], within -1 and 1; equal seeds give equal maps.

    Features are scaled to length 1 and reduced to their first 50 principal components.

    Args:
        features: Float [N, D].
        method: One of ``MAPS``: 'tsne' and 'pca' are always there, 'pacmap' where that library is installed.
        seed: Seed of the method.

    Raises:
        InputError: If there is no such method, its library is not installed, or there are too few images.
    """
    if method not in MAPS:
        raise InputError(f'the map must be one of {", ".join(MAPS)}, got {method!r}')
    rows = _reduced(unit(features), seed)
    try:
        points = MAPS[method](rows, seed)
    except ImportError as error:
        raise InputError(f'the map {method!r} needs a library that is not installed: {error}. '
                         'pip install mmsimclr[report], or take tsne or pca') from error
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    return (0.95 * points / max(float(np.abs(points).max()), 1e-12)).astype(np.float32)


def _pca(rows: ndarray, seed: int) -> ndarray:
    points = np.zeros((len(rows), 2), np.float32)
    count = min(2, *rows.shape)
    with np.errstate(invalid='ignore'):                     # of the shares of a variance of 0
        points[:, :count] = PCA(count, random_state=seed).fit_transform(rows)
    return points


def _tsne(rows: ndarray, seed: int) -> ndarray:
    return TSNE(perplexity=min(30, (len(rows) - 1) / 3), init='pca', random_state=seed).fit_transform(rows)


def _pacmap(rows: ndarray, seed: int) -> ndarray:
    import pacmap
    if len(rows) < NEEDED:
        raise InputError(f'the map pacmap needs {NEEDED} images or more, got {len(rows)}; take tsne or pca')
    logging.getLogger('pacmap').setLevel(logging.ERROR)     # warns that a seed is set
    return pacmap.PaCMAP(n_components=2, random_state=seed, apply_pca=False).fit_transform(rows)


#: Methods of :func:`embedding_map` by name.
MAPS: dict[str, Callable[[ndarray, int], ndarray]] = dict(pacmap=_pacmap, tsne=_tsne, pca=_pca)


def _reduced(rows: ndarray, seed: int) -> ndarray:
    if min(rows.shape) <= MAX_MAP_DIMS:
        return rows
    return PCA(MAX_MAP_DIMS, svd_solver='randomized', random_state=seed).fit_transform(rows)
