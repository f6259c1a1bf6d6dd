"""Sanity of every measure of features: chance for what says nothing, order of images irrelevant."""

import numpy as np
import pytest
from fixed_features import PARTS, FixedFeatures, clusters

from mmsimclr.protocols import KNN, SVM, LowShotSVM, read_predictions

PROTOCOLS = {
    'knn': (lambda: KNN(**PARTS, k=(10,)), 'pooled', 'top_1_accuracy_k10_percent'),
    'svm': (lambda: SVM(**PARTS, costs=(1.0,), stages=('layer4',), num_processes=1), 'layer4', 'map_percent'),
    'low-shot': (lambda: LowShotSVM(**PARTS, k=(8,), negatives_per_positive=3, costs=(1.0,),
                                    stages=('layer4',), num_processes=1), 'layer4', 'map_k8_percent')}


@pytest.fixture(params=PROTOCOLS)
def measure(request, tmp_path):
    build, stage, metric = PROTOCOLS[request.param]

    def run(train, test, name='run') -> float:
        return build().run(FixedFeatures(tmp_path / name, train, test, stage)).metrics[metric]
    return run


def test_features_of_the_classes_are_far_above_chance(measure):
    assert measure(*clusters()) > 75


def test_equal_features_for_all_images_give_chance(measure):
    (train, train_labels), (test, test_labels) = clusters()
    value = measure((np.ones_like(train), train_labels), (np.ones_like(test), test_labels))
    assert value == pytest.approx(25, abs=1e-6)                                 # 4 equally frequent classes


def test_shuffled_training_labels_give_chance(measure):
    (train, labels), test = clusters()
    values = [measure((train, np.random.default_rng(seed).permutation(labels)), test, str(seed))
              for seed in range(6)]
    # AP of random scores is a little above the share of positives; labels by chance partly agree.
    assert 17 < np.mean(values) < 37


def test_the_order_of_test_images_changes_the_order_of_predictions_and_nothing_else(measure, tmp_path):
    train, (test, labels) = clusters()
    order = np.random.default_rng(1).permutation(len(test))
    assert measure(train, (test, labels), 'plain') == pytest.approx(
        measure(train, (test[order], labels[order]), 'permuted'), abs=1e-9)
    plain, permuted = (read_predictions(tmp_path / name / 'predictions.npz')
                       for name in ('plain', 'permuted'))
    assert np.array_equal(plain.labels[order], permuted.labels)
    np.testing.assert_allclose(plain.predicted[order], permuted.predicted, rtol=1e-5, atol=1e-6)


def test_a_feature_that_is_not_finite_gives_no_number(measure):
    (train, train_labels), test = clusters()
    train[5, 3] = np.nan
    with pytest.raises(ValueError, match='finite'):
        measure((train, train_labels), test)


def test_no_labels_give_no_number(measure):
    (train, labels), (test, _) = clusters()
    with pytest.raises(ValueError, match='labels'):
        measure((train, labels), (test, None))
