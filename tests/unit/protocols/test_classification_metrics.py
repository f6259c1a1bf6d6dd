"""Accuracies and 11-point mAP against scikit-learn, plain loops and cases worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_curve

from mmsimclr.evaluation.metrics import (
    absent_classes,
    eleven_point_average_precision,
    eleven_point_map,
    mean_average_precision,
    mean_class_accuracy,
    require_same_classes,
    top_1_accuracy,
)


def answers(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(5, 200, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    return labels, np.where(generator.random(200) < 0.6, labels, generator.integers(5, size=200))


def slow_average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """As the definition reads: for each recall, the best precision of any threshold that reaches it."""
    points = []
    for threshold in scores:
        kept = scores >= threshold
        points.append((int((positive & kept).sum()), (positive & kept).sum() / kept.sum()))
    total = 0.0
    for tenth in range(11):
        total += max(precision for found, precision in points if 10 * found >= tenth * positive.sum())
    return total / 11


def test_accuracies_equal_scikit_learns():
    labels, predicted = answers()
    assert top_1_accuracy(labels, predicted) == pytest.approx(100 * accuracy_score(labels, predicted))
    assert mean_class_accuracy(labels, predicted) == pytest.approx(
        100 * balanced_accuracy_score(labels, predicted))
    assert abs(top_1_accuracy(labels, predicted) - mean_class_accuracy(labels, predicted)) > 0.5


def test_a_class_that_is_absent_from_the_test_is_left_out():
    labels, predicted = np.array([0, 0, 3]), np.array([0, 2, 3])
    assert mean_class_accuracy(labels, predicted) == pytest.approx(75)
    assert absent_classes(labels, 4) == [1, 2]


def test_average_precision_of_a_ranking_by_hand():
    # Positives at places 1, 3 and 6: precision 1 up to recall 1/3, 2/3 up to 2/3, 1/2 up to 1.
    positive = np.array([1, 0, 1, 0, 0, 1, 0], bool)
    scores = np.array([.9, .8, .7, .6, .5, .4, .3])
    assert eleven_point_average_precision(positive, scores) == pytest.approx((4 * 1 + 3 * 2 / 3 + 4 / 2) / 11)


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('decimals', [1, 6])
def test_average_precision_equals_the_definition_and_scikit_learns_curve(seed, decimals):
    generator = np.random.default_rng(seed)
    positive = generator.random(60) < 0.3
    scores = np.round(generator.random(60) + 0.5 * positive, decimals)
    value = eleven_point_average_precision(positive, scores)
    assert value == pytest.approx(slow_average_precision(positive, scores))
    precision, recall, _ = precision_recall_curve(positive, scores)
    # Without the curve's last point, of no image at all and precision 1.
    want = np.mean([precision[:-1][recall[:-1] >= tenth / 10 - 1e-9].max() for tenth in range(11)])
    assert value == pytest.approx(want)


def test_a_recall_that_is_met_exactly_counts():
    # 3 of 10 is recall 0.3, which as a sum of tenths is more than 0.3.
    positive = np.array([1] * 3 + [0] * 10 + [1] * 7, bool)
    assert eleven_point_average_precision(positive, -np.arange(20.)) == pytest.approx((4 + 7 * .5) / 11)


def test_scores_that_say_nothing_give_the_share_of_positives():
    positive = np.arange(40) < 10
    assert eleven_point_average_precision(positive, np.ones(40)) == pytest.approx(0.25)


@pytest.mark.parametrize('metric', [eleven_point_map, mean_average_precision])
def test_images_that_do_not_count_for_a_class_are_left_out_of_it_only(metric):
    labels = np.array([[1, 0], [0, 1], [-1, 1], [1, 0]])
    scores = np.array([[.9, .1], [.2, .8], [1., .9], [.8, .2]])
    assert metric(labels, scores) == pytest.approx(100)
    counted = np.where(labels < 0, 0, labels)
    assert metric(counted, scores) < 100


def test_mean_average_precision_is_the_area_of_each_class_and_not_11_points():
    # Positives at places 1 and 4 of the first class: 1/2 + 1/2 * 2/4; the second class is found first.
    labels, scores = np.array([[1, 1], [0, 0], [0, 0], [1, 0]]), -np.arange(4.)[:, None].repeat(2, axis=1)
    assert mean_average_precision(labels, scores) == pytest.approx(100 * (0.75 + 1) / 2)
    assert eleven_point_map(labels, scores) == pytest.approx(100 * ((6 + 5 / 2) / 11 + 1) / 2)


@pytest.mark.parametrize('metric, labels, predicted, message', [
    (top_1_accuracy, np.zeros(0, int), np.zeros(0, int), 'at least one'),
    (top_1_accuracy, np.zeros(3, int), np.zeros(2, int), 'same'),
    (mean_class_accuracy, np.zeros((3, 2), int), np.zeros((3, 2), int), '1 dimension'),
    (eleven_point_map, np.array([[1, 0], [0, 0]]), np.zeros((2, 2)), r'classes \[1\] have none'),
    (eleven_point_map, np.array([[1], [0]]), np.array([[np.nan], [0]]), 'not finite'),
    (mean_average_precision, np.array([[1, 0], [0, 0]]), np.zeros((2, 2)), r'classes \[1\] have none'),
    (mean_average_precision, np.array([1, 0]), np.zeros(2), '2 dimension'),
])
def test_wrong_input_is_refused(metric, labels, predicted, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, predicted)


@pytest.mark.parametrize(('train', 'test', 'message'), [
    (('cat', 'dog'), ('cat',), '2 and 1 classes; only one has dog'),
    (('cat', 'dog'), ('dog', 'cat'), 'the order differs'),
    (('cat',), (), 'only one has cat')])
def test_classes_that_differ_are_refused(train, test, message):
    with pytest.raises(ValueError, match=message):
        require_same_classes(train, test)
    require_same_classes(train, train)
