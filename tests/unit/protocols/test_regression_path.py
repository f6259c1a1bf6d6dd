"""The path of regularisations against scikit-learn, in the loss."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from mmsimclr.evaluation import logistic_regression
from mmsimclr.evaluation import logistic_regression as principal_axes
from mmsimclr.evaluation.logistic_regression import PrincipalAxes, minimise, regression_path

L2 = (1e-6, 1e-4, 1e-2, 1.0, 1e3)


def digits(num: int = 300) -> tuple[np.ndarray, np.ndarray]:
    data, target = load_digits(return_X_y=True)
    return data[:num].astype(np.float32), target[:num]


def wide(num: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """More dimensions than images, as features have them."""
    generator = np.random.default_rng(0)
    labels = np.arange(num) % 4
    centres = generator.normal(size=(4, 200))
    return np.maximum(0, centres[labels] + generator.normal(size=(num, 200)) + .5).astype(np.float32), labels


def objective(features, labels, weight, bias, l2) -> float:
    scores = features.astype(np.float64) @ np.asarray(weight).T + np.asarray(bias)
    scores -= scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(labels)), labels].mean() + 0.5 * l2 * np.square(weight).sum()


@pytest.mark.parametrize('data', [digits, wide])
def test_every_loss_of_the_path_equals_scikit_learns(data):
    features, labels = data()
    path = list(regression_path(features, labels, int(labels.max()) + 1, L2))
    assert [one.l2 for one in path] == sorted(L2, reverse=True)
    for classifier in path:
        reference = LogisticRegression(C=1 / (classifier.l2 * len(labels)), tol=1e-9, max_iter=20_000)
        reference.fit(features.astype(np.float64), labels)
        want = objective(features, labels, reference.coef_, reference.intercept_, classifier.l2)
        got = objective(features, labels, classifier.weight, classifier.bias, classifier.l2)
        assert classifier.converged and got <= want * (1 + 2e-5)      # scikit-learn may stop before


def test_binary_regressions_of_several_classes_equal_scikit_learns_and_leave_uncounted_images_out():
    features, target = digits(200)
    generator = np.random.default_rng(0)
    labels = np.stack([target % 2, target < 3, generator.permutation(target) == 5], axis=1).astype(np.int64)
    labels[generator.random(labels.shape) < 0.2] = -1
    for classifier in regression_path(features, labels, 3, (1e-3, 1.0)):
        for k in range(3):
            counts = labels[:, k] >= 0
            reference = LogisticRegression(C=1 / (classifier.l2 * counts.sum()), tol=1e-10, max_iter=20_000)
            reference.fit(features[counts].astype(np.float64), labels[counts, k])
            signs = 2 * labels[counts, k] - 1

            def loss(weight, bias, rows=features[counts], signs=signs, l2=classifier.l2):
                losses = np.logaddexp(0, -signs * (rows @ weight + bias))
                return losses.mean() + 0.5 * l2 * np.square(weight).sum()

            want = loss(reference.coef_[0], reference.intercept_[0])
            got = loss(classifier.weight[k].numpy(), classifier.bias[k].item())
            assert got == pytest.approx(want, rel=5e-5)


def test_a_fit_begins_at_the_one_before(monkeypatch):
    features, labels = digits()
    calls = []
    plain = logistic_regression._CrossEntropy.__call__
    monkeypatch.setattr(logistic_regression._CrossEntropy, '__call__',
                        lambda self, *args: calls.append(1) or plain(self, *args))
    counts = [len(calls) for _ in regression_path(features, labels, 10, (1e-2, 0.9e-2))]
    cold = len(calls)
    list(regression_path(features, labels, 10, (0.9e-2,)))
    assert counts[1] - counts[0] < (len(calls) - cold) / 3


def test_only_the_named_rows_are_fitted():
    features, labels = digits()
    rows = np.arange(1, 300, 2)
    some, = regression_path(features, labels, 10, [1e-2], rows=rows)
    want, = regression_path(features[rows], labels[rows], 10, [1e-2])
    torch.testing.assert_close(some.weight, want.weight)
    np.testing.assert_allclose(some.scores(features, rows),
                               features[rows] @ want.weight.float().numpy().T + want.bias.float().numpy(),
                               rtol=1e-3, atol=1e-3)


def test_chunks_change_nothing(monkeypatch):
    features, labels = digits()
    want, = regression_path(features, labels, 10, [1e-2])
    monkeypatch.setattr(principal_axes, 'CHUNK_VALUES', 7 * features.shape[1])
    got, = regression_path(features, labels, 10, [1e-2])
    torch.testing.assert_close(got.weight, want.weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.scores(features), want.scores(features), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('data', [digits, wide])
def test_principal_axes_equal_those_of_a_singular_value_decomposition(data):
    features, _ = data()
    axes = PrincipalAxes.of(features)
    values = np.linalg.svd(features - features.mean(axis=0, dtype=np.float64), compute_uv=False) ** 2
    want = np.sort(values[values > 1e-9 * values.max()]) / len(features)
    np.testing.assert_allclose(axes.variances, want, rtol=1e-6)
    torch.testing.assert_close(axes.axes.T @ axes.axes, torch.eye(len(want), dtype=torch.float64))
    np.testing.assert_allclose(axes.rotate(features).double().square().mean(dim=0), want, rtol=1e-3)


def test_minimise_finds_the_least_point_of_an_ill_conditioned_bowl():
    scales = torch.logspace(-1, 1, 12, dtype=torch.float64)
    target = torch.linspace(-1, 1, 12, dtype=torch.float64)

    def bowl(point):
        return 1 + 0.5 * (scales * (point - target).square()).sum().item(), scales * (point - target)

    point, converged = minimise(bowl, torch.zeros(12, dtype=torch.float64), 1e-14, 60)
    assert converged
    torch.testing.assert_close(point, target, rtol=0, atol=1e-5)
    assert not minimise(bowl, torch.zeros(12, dtype=torch.float64), 1e-14, 3)[1]


@pytest.mark.parametrize('labels, num_classes, message', [
    (np.array([0, 1, 2, 0]), 2, r'labels must be in \[0, 2\)'),
    (np.array([0, -1, 1, 0]), 2, r'labels must be in \[0, 2\)'),
    (np.array([[0, 1], [1, 1], [0, 1], [0, -1]]), 2, r'classes \[1\] have not both'),
    (np.array([[0, 1], [1, 2], [0, 1], [0, 0]]), 2, 'of -1, 0 and 1'),
    (np.array([0, 1, 0]), 2, 'features must be'),
])
def test_wrong_labels_are_refused(labels, num_classes, message):
    with pytest.raises(ValueError, match=message):
        list(regression_path(np.eye(4, dtype=np.float32), labels, num_classes, [1.0]))


def test_a_feature_that_is_not_finite_is_refused():
    features, labels = digits()
    features[7, 3] = np.inf
    with pytest.raises(ValueError, match='features are not finite'):
        list(regression_path(features, labels, 10, [1.0]))
