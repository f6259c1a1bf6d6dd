"""Linear SVMs against scikit-learn on the features as they are."""

import warnings

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from mmsimclr.evaluation.linear_svm import COSTS, fit_svm, svm_features


def problem(num_train: int = 30, num_dims: int = 70, seed: int = 0) -> tuple:
    random = np.random.default_rng(seed)
    labels = np.arange(num_train) % 3 == 0
    train = random.normal(size=(num_train, num_dims)) + np.outer(labels, random.normal(size=num_dims))
    return train.astype(np.float32), labels.astype(int), random.normal(size=(11, num_dims)).astype(np.float32)


def sklearn_svm(features, labels, cost, seed) -> LinearSVC:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return LinearSVC(penalty='l2', loss='squared_hinge', dual=True, tol=1e-4, C=cost, max_iter=2000,
                         intercept_scaling=1, class_weight={1: 2, -1: 1}, random_state=seed
                         ).fit(features, 2 * labels - 1)


@pytest.mark.parametrize('num_train, num_dims', [(30, 70), (70, 30), (30, 30)])
@pytest.mark.parametrize('cost', [0.5 ** 10, 1., 100.])
def test_scores_are_those_of_scikit_learn_on_all_dimensions(num_train, num_dims, cost):
    train, labels, test = problem(num_train, num_dims)
    scaled, scaled_test = (
        np.stack([row / (np.sqrt(sum(float(value) ** 2 for value in row)) + 1e-5) for row in rows])
        for rows in (train.astype(float), test.astype(float)))
    reference = sklearn_svm(scaled, labels, cost, 3)
    train_rows, test_rows = svm_features(train, test)
    assert train_rows.shape[1] == test_rows.shape[1] == min(num_train, num_dims)
    svm, _ = fit_svm(train_rows, labels, cost, 3)
    assert svm.n_iter_ == reference.n_iter_
    np.testing.assert_allclose(svm.decision_function(test_rows), reference.decision_function(scaled_test),
                               rtol=1e-6, atol=1e-9)


def test_a_small_feature_is_not_scaled_to_length_1():
    train_rows, _ = svm_features(np.array([[3e-5, 4e-5, 0.], [30., 40., 0.]]), np.ones((1, 3)))
    assert np.linalg.norm(train_rows, axis=1) == pytest.approx([5 / 6, 1], rel=1e-5)


def test_ignored_images_have_no_part_in_the_fit():
    train, labels, test = problem()
    ignored = labels.copy()
    ignored[[0, 4, 9]] = -1
    kept = ignored >= 0
    train_rows, test_rows = svm_features(train, test)
    svm, _ = fit_svm(train_rows, ignored, 1.)
    same, _ = fit_svm(train_rows[kept], labels[kept], 1.)
    assert np.array_equal(svm.decision_function(test_rows), same.decision_function(test_rows))


def test_a_fit_that_does_not_converge_is_told_without_a_warning():
    train, labels, _ = problem()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert not fit_svm(train.astype(float), labels, 100., max_iterations=2)[1]
        assert fit_svm(train.astype(float), labels, 0.001)[1]


def test_the_costs_are_those_of_the_original_protocol():
    assert len(COSTS) == 19 and COSTS[:4] == (1, 10, 100, 1 / 16) and COSTS[-1] == 1 / 2**19


@pytest.mark.parametrize('train, test, message', [
    (np.array([[1., 2], [3, np.nan]]), np.ones((3, 2)), 'training image 1 is not finite'),
    (np.ones((3, 2)), np.array([[1., 2], [2, 3], [np.inf, 2]]), 'test image 2 is not finite')])
def test_features_that_cannot_be_used_are_refused(train, test, message):
    with pytest.raises(ValueError, match=message):
        svm_features(train, test)
