"""Accuracies and average precision against scikit-learn, plain counting and cases worked out by hand."""

import numpy as np
import pytest
from oracles.average_precision import slow_average_precision, slow_eleven_point_average_precision
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_curve

from mmsimclr.evaluation import average_precision
from mmsimclr.evaluation.metrics import (
    eleven_point_average_precision,
    eleven_point_map,
    mean_average_precision,
    mean_class_accuracy,
    require_same_classes,
    top_1_accuracy,
)


def test_accuracies_equal_scikit_learns():
    generator = np.random.default_rng(0)
    labels = generator.choice(5, 200, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    predicted = np.where(generator.random(200) < 0.6, labels, generator.integers(5, size=200))
    assert top_1_accuracy(labels, predicted) == pytest.approx(100 * accuracy_score(labels, predicted))
    assert mean_class_accuracy(labels, predicted) == pytest.approx(
        100 * balanced_accuracy_score(labels, predicted))
    assert abs(top_1_accuracy(labels, predicted) - mean_class_accuracy(labels, predicted)) > 0.5


def test_a_class_that_is_absent_from_the_test_is_left_out():
    labels, predicted = np.array([0, 0, 3]), np.array([0, 2, 3])
    assert mean_class_accuracy(labels, predicted) == pytest.approx(75)


@pytest.mark.parametrize('num_images, num_levels, seed', [
    (1, 1, 0), (2, 2, 1), (7, 3, 2), (40, 1000, 3), (60, 5, 4), (150, 10**6, 5), (150, 20, 6)])
def test_average_precisions_equal_those_of_counting(num_images, num_levels, seed):
    random = np.random.default_rng(seed)
    labels = random.choice([1, 0, -1], num_images, p=[0.3, 0.5, 0.2])
    labels[0] = 1
    scores = random.integers(num_levels, size=num_images) / 7 - 1.5 + 0.3 * (labels == 1)
    want = slow_average_precision(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(want, abs=1e-12)
    counted = labels >= 0
    value = eleven_point_average_precision(labels[counted] == 1, scores[counted])
    assert value == pytest.approx(slow_eleven_point_average_precision(labels, scores))
    precision, recall, _ = precision_recall_curve(labels[counted] == 1, scores[counted])
    # Without the curve's last point, of no image at all and precision 1.
    assert value == pytest.approx(np.mean(
        [precision[:-1][recall[:-1] >= tenth / 10 - 1e-9].max() for tenth in range(11)]))


def test_average_precision_by_hand():
    # Precisions 1, 1/2, 2/3, 1/2, 3/5 at recalls 1/3, 1/3, 2/3, 2/3, 1: interpolated 1, 2/3 and 3/5.
    assert average_precision([1, 0, 1, 0, 1], [5., 4., 3., 2., 1.]) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # The third positive first raises the precision at smaller recalls too: 0, 1/2, 2/3, 3/4.
    assert average_precision([0, 1, 1, 1], [4., 3., 2., 1.]) == pytest.approx(3 / 4)


def test_eleven_point_average_precision_by_hand():
    # Positives at places 1, 3 and 6: precision 1 up to recall 1/3, 2/3 up to 2/3, 1/2 up to 1.
    positive, scores = np.array([1, 0, 1, 0, 0, 1, 0], bool), -np.arange(7.)
    assert eleven_point_average_precision(positive, scores) == pytest.approx((4 * 1 + 3 * 2 / 3 + 4 / 2) / 11)
    # 3 of 10 is recall 0.3, which as a sum of tenths is more than 0.3.
    positive = np.array([1] * 3 + [0] * 10 + [1] * 7, bool)
    assert eleven_point_average_precision(positive, -np.arange(20.)) == pytest.approx((4 + 7 * .5) / 11)


def test_scores_that_say_nothing_give_the_share_of_positives_in_any_order():
    for labels in ([1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]):
        assert average_precision(labels, np.ones(4)) == 0.25
        assert eleven_point_average_precision(np.array(labels) == 1, np.ones(4)) == pytest.approx(0.25)


def test_ignored_images_do_not_count_even_with_the_highest_score_or_none():
    labels, scores = np.array([1, 0, 1, 0]), np.array([4., 3., 2., 1.])
    want = average_precision(labels, scores)
    assert average_precision([-1, *labels, -1], [9., *scores, np.nan]) == want


@pytest.mark.parametrize('labels, scores, message', [
    ([0, 0], [1., 2.], 'at least one positive'), ([], [], 'at least one positive'),
    ([1, 0], [1., np.nan], 'not finite'), ([1, 2], [1., 2.], r'got \[2\]'),
    ([1, 0], [1.], r'\[2\] and \[1\]'), ([[1]], [[1.]], r'must be \[N\] both')])
def test_labels_and_scores_without_an_average_precision_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        average_precision(np.array(labels, int), np.array(scores))


@pytest.mark.parametrize('metric', [eleven_point_map, mean_average_precision])
def test_images_that_do_not_count_for_a_class_are_left_out_of_it_only(metric):
    labels = np.array([[1, 0], [0, 1], [-1, 1], [1, 0]])
    scores = np.array([[.9, .1], [.2, .8], [1., .9], [.8, .2]])
    assert metric(labels, scores) == pytest.approx(100)
    assert metric(np.where(labels < 0, 0, labels), scores) < 100


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
    (mean_average_precision, np.array([1, 0]), np.zeros(2), '2 dimension'),
])
def test_wrong_input_is_refused(metric, labels, predicted, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, predicted)


@pytest.mark.parametrize(('train', 'test', 'message'), [
    (('cat', 'dog'), ('cat',), 'only one has dog'), (('cat', 'dog'), ('dog', 'cat'), 'order differs'),
    (('cat',), (), 'only one has cat')])
def test_classes_that_differ_are_refused(train, test, message):
    with pytest.raises(ValueError, match=message):
        require_same_classes(train, test)
    require_same_classes(train, train)
