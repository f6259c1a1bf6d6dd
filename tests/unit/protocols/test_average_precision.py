"""AP against a slow reference: precision and recall by counting at every threshold."""

import numpy as np
import pytest

from mmsimclr.evaluation import average_precision


def slow_average_precision(labels, scores) -> float:
    """Area under the curve of the best precision at each recall or more, counted one threshold at a time."""
    pairs = [(label, score) for label, score in zip(labels, scores, strict=True) if label != -1]
    num_positives = sum(label == 1 for label, _ in pairs)
    points = []
    for threshold in sorted({score for _, score in pairs}, reverse=True):
        found = [label for label, score in pairs if score >= threshold]
        hits = sum(label == 1 for label in found)
        points.append((hits / num_positives, hits / len(found)))
    area, last_recall = 0.0, 0.0
    for recall, _ in points:
        area += (recall - last_recall) * max(precision for r, precision in points if r >= recall)
        last_recall = recall
    return area


@pytest.mark.parametrize('num_images, num_levels, seed', [
    (1, 1, 0), (2, 2, 1), (7, 3, 2), (40, 1000, 3), (60, 5, 4), (150, 10**6, 5), (150, 20, 6)])
def test_it_equals_the_slow_reference(num_images, num_levels, seed):
    random = np.random.default_rng(seed)
    labels = random.choice([1, 0, -1], num_images, p=[0.3, 0.5, 0.2])
    labels[0] = 1
    scores = random.integers(num_levels, size=num_images) / 7 - 1.5 + 0.3 * (labels == 1)
    want = slow_average_precision(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(want, abs=1e-12)


def test_a_case_by_hand():
    # Precisions 1, 1/2, 2/3, 1/2, 3/5 at recalls 1/3, 1/3, 2/3, 2/3, 1: interpolated 1, 2/3 and 3/5.
    labels, scores = [1, 0, 1, 0, 1], [5., 4., 3., 2., 1.]
    assert average_precision(labels, scores) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # The third positive first raises the precision at smaller recalls too: 0, 1/2, 2/3, 3/4.
    assert average_precision([0, 1, 1, 1], [4., 3., 2., 1.]) == pytest.approx(3 / 4)


def test_scores_that_say_nothing_give_the_share_of_positives_in_any_order():
    for labels in ([1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]):
        assert average_precision(labels, np.ones(4)) == 0.25


def test_ignored_images_do_not_count_even_with_the_highest_score_or_none():
    labels, scores = np.array([1, 0, 1, 0]), np.array([4., 3., 2., 1.])
    want = average_precision(labels, scores)
    assert average_precision([-1, *labels, -1], [9., *scores, np.nan]) == want


def test_order_of_images_decides_nothing():
    random = np.random.default_rng(0)
    labels, scores = random.integers(2, size=50), random.integers(6, size=50).astype(float)
    shuffled = random.permutation(50)
    assert average_precision(labels, scores) == average_precision(labels[shuffled], scores[shuffled])


@pytest.mark.parametrize('labels, scores, message', [
    ([0, 0], [1., 2.], 'at least one positive'), ([-1], [1.], 'at least one positive'),
    ([], [], 'at least one positive'), ([1, 0], [1., np.nan], 'not finite'), ([1, 2], [1., 2.], r'got \[2\]'),
    ([1, 0], [1.], r'got shapes \[2\] and \[1\]'), ([[1]], [[1.]], r'must be \[N\] both')])
def test_what_has_no_average_precision_is_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        average_precision(np.array(labels, int), np.array(scores))
