"""Label-free measures against closed forms on features whose spectrum is known, and plain loops."""

import math

import numpy as np
import pytest
import torch

from mmsimclr.evaluation import health as module
from mmsimclr.evaluation.health import health


def with_spectrum(deviations, num_images: int = 64, offset: float = 0.0) -> np.ndarray:
    """Return features whose covariance has exactly these eigenvalues' roots, turned at random."""
    random = np.random.default_rng(3)
    # Columns orthogonal to the constant column, so that centring changes nothing.
    ones = np.ones((num_images, 1)) / math.sqrt(num_images)
    basis = np.linalg.qr(np.hstack([ones, random.normal(size=(num_images, len(deviations)))]))[0][:, 1:]
    turn = np.linalg.qr(random.normal(size=(len(deviations),) * 2))[0]
    return math.sqrt(num_images) * basis * np.asarray(deviations) @ turn.T + offset


@pytest.mark.parametrize('rank', [1, 3, 8])
def test_rankme_and_effective_dimensions_of_equal_singular_values_are_their_number(rank):
    features = with_spectrum([2.0] * rank + [0.0] * (8 - rank))
    assert health(features)['rankme'] == pytest.approx(rank, rel=1e-4)
    assert health(features)['effective_dimensions'] == pytest.approx(rank)


def test_rankme_is_the_entropy_of_the_shares_of_singular_values_not_of_their_squares():
    shares = np.array([0.5, 0.3, 0.2])
    want = math.exp(-(shares * np.log(shares)).sum())
    assert health(with_spectrum(10 * shares))['rankme'] == pytest.approx(want, rel=1e-5)
    squares = shares ** 2
    assert health(with_spectrum(shares))['effective_dimensions'] == pytest.approx(
        squares.sum() ** 2 / (squares ** 2).sum())


@pytest.mark.parametrize('shape', [(5, 40), (40, 5)])
def test_rankme_of_white_noise_comes_near_its_bound_and_not_above_it(shape):
    features = np.random.default_rng(0).normal(size=shape)
    assert 0.8 * 5 < health(features)['rankme'] <= 5 * (1 + 1e-4)


@pytest.mark.parametrize('alpha', [0.0, 0.5, 1.0, 2.5])
def test_alpha_is_that_of_a_power_law_wherever_its_centre_is(alpha):
    deviations = np.arange(1, 13) ** (-alpha / 2)
    assert health(with_spectrum(deviations, offset=3.0))['alpha_req'] == pytest.approx(alpha, abs=1e-9)


def test_collapsed_features_have_no_dimension_no_decay_and_nothing_that_varies():
    got = health(np.full((9, 4), 0.1, np.float32))
    assert got['rankme'] == pytest.approx(1, rel=1e-4)                   # not centred: one direction
    assert math.isnan(got['alpha_req'])
    assert got['effective_dimensions'] == 0
    assert got['dead_share'] == 1
    for name in ('uniformity', 'deviation', 'unit_deviation'):
        assert got[name] == pytest.approx(0, abs=1e-6), name
    assert health(np.zeros((4, 3)))['rankme'] == 0
    assert health(np.zeros((4, 3)))['uniformity'] == 0


def test_uniformity_equals_a_double_loop():
    random = np.random.default_rng(1)
    views = random.normal(size=(13, 3, 5)) + 0.5
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    pairs = [math.exp(-2 * np.square(unit[i, 0] - unit[j, 0]).sum()) for j in range(13) for i in range(j)]
    assert health(views[:, 0])['uniformity'] == pytest.approx(math.log(np.mean(pairs)))


def test_uniformity_of_many_images_is_that_of_evenly_spaced_ones(monkeypatch):
    features = np.random.default_rng(1).normal(size=(41, 3))
    monkeypatch.setattr(module, 'MAX_PAIR_ROWS', 21)
    assert health(features)['uniformity'] == pytest.approx(health(features[::2])['uniformity'])


def test_dead_units_are_those_that_do_not_vary_and_deviation_is_per_dimension():
    features = np.random.default_rng(0).normal(size=(50, 8)) + 2
    features[:, [1, 4, 6]] = [0, 7, -3]
    got = health(features)
    assert got['dead_share'] == pytest.approx(3 / 8)
    assert got['deviation'] == pytest.approx(features.std(axis=0).mean())
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert got['unit_deviation'] == pytest.approx(unit.std(axis=0).mean() * math.sqrt(8))


def test_features_spread_over_the_sphere_have_a_unit_deviation_of_1():
    features = np.random.default_rng(0).normal(size=(20_000, 16))
    assert health(features)['unit_deviation'] == pytest.approx(1, abs=0.01)


def test_a_tensor_of_any_precision_gives_what_its_array_gives():
    features = with_spectrum([3, 2, 1]).astype(np.float32)
    assert health(torch.from_numpy(features)) == health(features)


@pytest.mark.parametrize('features, said', [
    (np.ones((1, 4)), r'features must be .*N >= 2, got \[1, 4\]'),
    (np.ones(4), r'features must be .*got \[4\]'),
    (np.array([[1, 2], [3, 4], [np.nan, 0]]), 'features of image 2 are not finite')])
def test_features_that_cannot_be_measured_are_refused(features, said):
    with pytest.raises(ValueError, match=said):
        health(features)


def of_views(views) -> dict:
    return health(np.eye(3), views)


def test_alignment_equals_a_double_loop():
    views = np.random.default_rng(1).normal(size=(13, 3, 5)) + 0.5
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    near = [np.square(unit[:, i] - unit[:, j]).sum(axis=1) for i in range(3) for j in range(i)]
    assert of_views(views)['alignment'] == pytest.approx(np.mean(near))


def test_lidar_equals_its_definition_by_matrix_roots():
    random = np.random.default_rng(2)
    views = random.normal(size=(30, 4, 6)) * [3, 1, 1, 0.5, 0.2, 0.1] + random.normal(size=(30, 1, 6)) * 2
    means = views.mean(axis=1)
    between = np.cov(means.T, bias=True)
    within = sum(np.outer(view - mean, view - mean) for image, mean in zip(views, means, strict=True)
                 for view in image) / 120 + 1e-4 * np.eye(6)
    values, axes = np.linalg.eigh(within)
    root = axes @ np.diag(values ** -0.5) @ axes.T
    eigenvalues = np.linalg.eigvalsh(root @ between @ root)
    shares = eigenvalues / eigenvalues.sum() + 1e-7
    assert of_views(views)['lidar'] == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-9)


def test_lidar_counts_the_directions_in_which_images_differ_more_than_their_views():
    random = np.random.default_rng(2)
    # Images differ equally in two dimensions; views are noise, equal in all of six.
    means = np.zeros((400, 1, 6))
    means[:, 0, :2] = with_spectrum([5.0, 5.0], 400)
    views = means + 0.01 * random.normal(size=(400, 8, 6))
    assert of_views(views)['lidar'] == pytest.approx(2, abs=0.01)
    assert of_views(views[:3])['lidar'] <= 2.001                                     # N - 1


def test_only_views_give_lidar_and_they_are_checked():
    assert {'lidar', 'alignment'} & health(np.eye(3)).keys() == set()
    assert of_views(np.full((9, 2, 4), 0.1))['lidar'] == 0
    with pytest.raises(ValueError, match=r'views must be .*V >= 2, got \[3, 1, 4\]'):
        of_views(np.ones((3, 1, 4)))
