"""Permutation and McNemar tests against plain loops and against all exchanges there are."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import binom

from mmsimclr.evaluation.metrics import METRICS
from mmsimclr.evaluation.significance import _PooledRanking, mcnemar_test, permutation_test

TOP_1, MEAN_CLASS, *MAPS, SEVERAL = METRICS
MAP = MAPS[0]


def every_exchange(labels, a, b, metric) -> float:
    """Return the exact p-value, by going through all 2^N exchanges."""
    observed = abs(METRICS[metric](labels, a) - METRICS[metric](labels, b))
    extreme = 0
    for signs in itertools.product([False, True], repeat=len(labels)):
        swap = np.array(signs).reshape(-1, *[1] * (a.ndim - 1))
        first, second = np.where(swap, b, a), np.where(swap, a, b)
        extreme += abs(METRICS[metric](labels, first) - METRICS[metric](labels, second)) >= observed - 1e-9
    return extreme / 2 ** len(labels)


def answers(num: int, seed: int = 0) -> tuple:
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, num, p=[.6, .3, .1])
    labels[:3] = [0, 1, 2]
    a = np.where(generator.random(num) < 0.8, labels, (labels + 1) % 3)
    return labels, a, np.where(generator.random(num) < 0.45, labels, (labels + 1) % 3)


@pytest.mark.parametrize('metric', [TOP_1, MEAN_CLASS])
@pytest.mark.parametrize('seed', [0, 1, 4])
def test_accuracies_p_is_that_of_all_exchanges(metric, seed):
    labels, a, b = answers(12, seed)
    want = every_exchange(labels, a, b, metric)
    assert permutation_test(labels, a, b, metric, 50_000) == pytest.approx(want, abs=0.01)


@pytest.mark.parametrize('metric', MAPS)
def test_map_s_p_is_that_of_all_exchanges_of_whole_images(metric):
    generator = np.random.default_rng(6)           # the p of the two metrics differ
    labels = (generator.random((10, 3)) < 0.4).astype(int)
    labels[0], labels[1, 0] = 1, -1
    # Ranks already, so that replacing scores by ranks changes nothing; the ignored image is last.
    a, b = (np.argsort(np.argsort(generator.random((10, 3)) + weight * labels, axis=0), axis=0) + 1.
            for weight in (0.5, 0.1))
    a[1, 0] = b[1, 0] = 0
    for scores in (a, b):
        scores[:, 0] = np.argsort(np.argsort(scores[:, 0]))
    want = every_exchange(labels, a, b, metric)
    assert 0.1 < want < 0.9
    assert permutation_test(labels, a, b, metric, 30_000) == pytest.approx(want, abs=0.01)


@pytest.mark.parametrize('seed', [0, 3, 5])
def test_the_p_of_an_accuracy_of_several_classes_is_that_of_all_exchanges_of_whole_images(seed):
    generator = np.random.default_rng(seed)
    labels = (generator.random((11, 4)) < 0.5).astype(int)
    labels[2, 1] = labels[5, 3] = -1
    a, b = (generator.normal(size=(11, 4)) + weight * (2 * labels - 1) for weight in (1.5, 0.4))
    want = every_exchange(labels, a, b, SEVERAL)
    assert 0.005 < want < 0.9
    assert permutation_test(labels, a, b, SEVERAL, 50_000) == pytest.approx(want, abs=0.01)
    by_hand = [np.mean([(scores[i, k] > 0) == (labels[i, k] == 1) for i in range(11) for k in range(4)
                        if labels[i, k] >= 0]) for scores in (a, b)]
    found = [METRICS[SEVERAL](labels, scores) for scores in (a, b)]
    assert found == pytest.approx([100 * share for share in by_hand])


def test_an_accuracy_of_several_classes_needs_no_common_scale_and_an_average_precision_ranks():
    # B is A but for a shift that changes no order within B: the same APs, and other answers.
    generator = np.random.default_rng(1)
    labels = (generator.random((60, 2)) < 0.5).astype(int)
    a = generator.normal(size=(60, 2)) + labels - 0.5
    assert permutation_test(labels, a, a + 5, MAP, 300) == 1
    assert permutation_test(labels, a, a + 5, SEVERAL, 3000) < 0.01


@pytest.mark.parametrize('metric', MAPS)
def test_differences_of_average_precision_are_those_of_the_metric(metric):
    generator = np.random.default_rng(0)
    labels = generator.integers(-1, 2, size=(40, 1))
    a, b = np.round(generator.random((2, 40, 1)) + 0.3 * (labels == 1), 1)
    ranking = _PooledRanking(labels[:, 0], a[:, 0], b[:, 0], 'cpu', eleven_points=metric == MAP)
    difference = ranking.differences(torch.zeros(1, 40).bool())
    assert 100 * difference.item() == pytest.approx(METRICS[metric](labels, a) - METRICS[metric](labels, b),
                                                    abs=1e-4)


def test_the_scale_of_one_model_s_scores_does_not_matter():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, size=(30, 2))
    a, b = generator.random((2, 30, 2)) + np.array([0.2, 0.]).reshape(2, 1, 1) * labels
    want = permutation_test(labels, a, b, MAP, 500)
    assert 0.05 < want < 0.5
    assert permutation_test(labels, 1000 * a - 5, b, MAP, 500) == want


def test_equal_models_do_not_differ():
    labels, a, _ = answers(30)
    assert permutation_test(labels, a, a, TOP_1, 1000) == 1 == mcnemar_test(labels, a, a)
    scores = np.random.default_rng(0).random((30, 1))
    assert permutation_test((labels[:, None] == 0).astype(int), scores, scores, MAP, 100) == 1


def test_models_of_equal_skill_are_called_different_as_often_as_the_level_says():
    below = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        labels = generator.integers(3, size=100)
        a, b = np.where(generator.random((2, 100)) < 0.6, labels, 3)
        below.append(permutation_test(labels, a, b, TOP_1, 500, seed) <= 0.2)
    assert 0.1 < np.mean(below) < 0.27


def test_the_least_p_counts_the_observed_difference_itself():
    labels = np.zeros(60, int)
    assert permutation_test(labels, labels, labels + 1, TOP_1, 999) == pytest.approx(1 / 1000)


def test_mcnemar_is_the_sign_test_on_the_images_one_model_alone_got_right():
    labels, a, b = answers(80)
    only_a = ((a == labels) & (b != labels)).sum()
    only_b = ((b == labels) & (a != labels)).sum()
    low = min(only_a, only_b)
    want = min(1, 2 * binom.cdf(low, only_a + only_b, 0.5))
    assert mcnemar_test(labels, a, b) == pytest.approx(want) and only_a != only_b


def test_the_seed_decides_the_exchanges():
    labels, a, _ = answers(40)
    b = np.roll(a, 1)
    values = [permutation_test(labels, a, b, MEAN_CLASS, 300, seed) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize('changes, message', [
    (dict(metric='accuracy'), 'metric must be one of'),
    (dict(num_exchanges=0), 'num_exchanges must be >= 1'),
])
def test_wrong_arguments_are_refused(changes, message):
    labels, a, b = answers(5)
    with pytest.raises(ValueError, match=message):
        permutation_test(labels, a, b, **{'metric': TOP_1, **changes})
