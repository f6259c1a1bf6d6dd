"""Structure of features: neighbours, planted duplicates, outliers and clusters, the diverse subset, maps."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mmsimclr.errors import InputError
from mmsimclr.evaluation import atlas

NUM_CLUSTERS, NUM_OUTLIERS, NUM_COPIES = 5, 20, 100


@pytest.fixture(scope='module')
def planted():
    """Return features of 900 images in 5 clusters, copies of the first 100, and 20 outliers; and clusters."""
    rng = np.random.default_rng(0)
    cluster = rng.permutation(np.repeat(np.arange(NUM_CLUSTERS), 180))
    images = rng.normal(size=(NUM_CLUSTERS, 64))[cluster] + 0.35 * rng.normal(size=(900, 64))
    copies = images[:NUM_COPIES] + 0.01 * rng.normal(size=(NUM_COPIES, 64))
    copies[:50] = images[:50]
    features = np.concatenate([images, copies, rng.normal(size=(NUM_OUTLIERS, 64))])
    return features.astype(np.float32), np.concatenate([cluster, cluster[:NUM_COPIES]])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_neighbours_are_those_of_all_cosines_and_never_the_image_itself(planted):
    features, _ = planted
    similarity, rows = atlas.neighbours(features, 7)
    cosines = unit(features.astype(np.float64)) @ unit(features.astype(np.float64)).T
    np.fill_diagonal(cosines, -np.inf)
    assert (rows != np.arange(len(features))[:, None]).all()
    np.testing.assert_allclose(similarity, -np.sort(-cosines, axis=1)[:, :7], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(cosines, rows, 1), similarity, atol=1e-5)


def test_of_more_copies_than_neighbours_none_is_itself():
    similarity, rows = atlas.neighbours(np.ones((9, 4), np.float32), 3)
    assert (rows != np.arange(9)[:, None]).all()
    np.testing.assert_allclose(similarity, 1, atol=1e-6)


def test_thumbnails_tell_copies_from_pictures_that_are_alike_to_the_encoder():
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    noisy = np.clip(pictures[0] + rng.normal(size=pictures[0].shape) * 4, 0, 255).astype(np.uint8)
    flat = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (100, 101, 104)])
    thumbnails = np.concatenate([pictures, noisy[None], flat])
    features = np.ones((7, 2), np.float32)
    pairs = atlas.near_duplicates(*atlas.neighbours(features, 6), thumbnails)
    assert pairs.tolist() == [[0, 3], [4, 5]]
    apart = np.concatenate([features[:4], np.eye(2)[[1, 1, 1]] - np.eye(2)[[0, 0, 0]]])
    apart[5] = [-1, -1]                                     # equal pixels, other features
    assert atlas.near_duplicates(*atlas.neighbours(apart, 6), thumbnails).tolist() == [[0, 3]]
    assert len(atlas.near_duplicates(*atlas.neighbours(np.eye(7), 6), thumbnails)) == 0


def test_groups_are_connected_images_the_largest_first():
    pairs = np.array([[0, 5], [2, 7], [5, 3]])
    assert atlas.groups_of(pairs, 9) == [[0, 3, 5], [2, 7]]
    assert atlas.groups_of(np.zeros((0, 2), int), 4) == []


def test_planted_outliers_are_among_the_farthest(planted):
    features, _ = planted
    distance = atlas.distances(atlas.neighbours(features, 20)[0])
    farthest = np.argsort(-distance)[:40]
    assert np.isin(np.arange(1000, 1020), farthest).mean() >= 0.8


def test_twenty_outliers_that_are_alike_are_still_found():
    rng = np.random.default_rng(2)
    features = np.concatenate([rng.normal(size=(300, 32)) + 2, -2 + 0.01 * rng.normal(size=(20, 32))])
    distance = atlas.distances(atlas.neighbours(features.astype(np.float32), 20)[0])
    assert set(np.argsort(-distance)[:20]) == set(range(300, 320))


def test_planted_clusters_and_their_number_are_found(planted):
    features, truth = planted
    found = atlas.clusters(features)[:len(truth)]
    assert adjusted_rand_score(truth, found) >= 0.9
    counts = np.bincount(found)
    assert len(counts) == NUM_CLUSTERS and (np.diff(counts) <= 0).all()
    assert len(set(atlas.clusters(features, count=3))) == 3


def test_the_diverse_subset_covers_with_at_most_twice_the_radius_of_the_best():
    """Gonzalez 1985: compared with the best of all subsets."""
    rng = np.random.default_rng(3)
    rows = unit(rng.normal(size=(11, 3)))
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)

    def radius(subset):
        return distance[:, list(subset)].min(axis=1).max()

    chosen = atlas.diverse_subset(rows, 4)
    assert len(set(chosen.tolist())) == 4
    assert radius(chosen) <= 2 * min(map(radius, itertools.combinations(range(11), 4))) + 1e-6
    for place in range(1, 4):
        before = distance[:, chosen[:place]].min(axis=1)
        assert before[chosen[place]] == pytest.approx(before.max(), abs=1e-6)
    assert sorted(atlas.diverse_subset(rows, 99)) == list(range(11))


@pytest.mark.parametrize('method', ['pca', pytest.param('tsne', marks=pytest.mark.slow),
                                    pytest.param('pacmap', marks=pytest.mark.slow)])
def test_a_map_keeps_clusters_apart_and_equal_seeds_make_equal_maps(planted, method):
    if method == 'pacmap':
        pytest.importorskip('pacmap')
    features, truth = planted
    features, truth = features[:300], truth[:300]
    points = atlas.embedding_map(features, method, seed=3)
    np.testing.assert_array_equal(points, atlas.embedding_map(features, method, seed=3))
    assert points.shape == (300, 2) and points.dtype == np.float32 and np.abs(points).max() <= 1
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    same = (truth[distance.argmin(axis=1)] == truth).mean()
    assert same > (0.7 if method == 'pca' else 0.97)


def test_maps_of_few_or_equal_images_are_finite():
    for features in (np.eye(2, 5), np.ones((5, 3)), np.zeros((3, 4)), np.ones((40, 1))):
        points = atlas.embedding_map(features, 'pca')
        assert points.shape == (len(features), 2) and np.isfinite(points).all()


def test_a_map_that_cannot_be_made_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r'tsne.*pcaa'):
        atlas.embedding_map(np.eye(5), 'pcaa')
    pytest.importorskip('pacmap')
    with pytest.raises(InputError, match='4 images or more, got 3; take tsne'):
        atlas.embedding_map(np.eye(3), 'pacmap')
