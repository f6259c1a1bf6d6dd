"""Logistic regression against scikit-learn: losses along the path, weights, accuracy."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mmsimclr.evaluation import fit_logistic_regression, linear_accuracy, logistic_regression
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


def test_chunks_change_nothing(monkeypatch):
    features, labels = digits()
    want, = regression_path(features, labels, 10, [1e-2])
    monkeypatch.setattr(logistic_regression, 'CHUNK_VALUES', 7 * features.shape[1])
    got, = regression_path(features, labels, 10, [1e-2])
    torch.testing.assert_close(got.weight, want.weight, rtol=1e-5, atol=1e-5)
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


def problem(num: int = 120, channels: int = 6, num_classes: int = 4) -> tuple:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (num,), generator=generator)
    centres = 1.5 * torch.randn(num_classes, channels, generator=generator)
    return centres[labels] + torch.randn(num, channels, generator=generator) + 2, labels


@pytest.mark.parametrize('l2', [1e-2, 1.0])
def test_weights_equal_scikit_learns(l2):
    features, labels = problem()
    weight, bias = fit_logistic_regression(features.double(), labels, 4, l2)
    reference = LogisticRegression(C=1 / (l2 * len(features)), tol=1e-10, max_iter=5000)
    reference.fit(features.double(), labels)
    np.testing.assert_allclose(weight, reference.coef_, rtol=1e-3, atol=1e-4)
    # The unpenalised biases are defined up to a common constant.
    np.testing.assert_allclose(bias - bias.mean(), reference.intercept_ - reference.intercept_.mean(),
                               rtol=1e-3, atol=1e-3)


def test_accuracy_on_digits_equals_scikit_learns_on_standardised_features():
    data, target = load_digits(return_X_y=True)
    data = data[:, data[:300].std(axis=0) > 0]
    scaler = StandardScaler().fit(data[:300])
    reference = LogisticRegression(C=1 / (1e-2 * 300), tol=1e-8, max_iter=2000)
    reference.fit(scaler.transform(data[:300]), target[:300])
    want = 100 * reference.score(scaler.transform(data[300:700]), target[300:700])
    features, labels = torch.from_numpy(data).float(), torch.from_numpy(target)
    got = linear_accuracy(features[:300], labels[:300], features[300:700], labels[300:700], 10, l2=1e-2)
    assert 80 < want < 100
    assert got == pytest.approx(want, abs=0.5)


def test_scale_and_offset_of_a_channel_do_not_matter():
    features, labels = problem()
    scaled = features * torch.tensor([1e3, 1e-3, 1., 5., 1., 1.]) + torch.tensor([0., 7., 0., -9., 0., 0.])
    results = [linear_accuracy(x[:80], labels[:80], x[80:], labels[80:], 4) for x in (features, scaled)]
    assert results[0] == results[1] > 50


def test_a_constant_channel_is_harmless():
    features, labels = problem()
    constant = torch.cat([features, torch.full((120, 1), 3.0)], dim=1)
    assert linear_accuracy(constant[:80], labels[:80], constant[80:], labels[80:], 4) > 50


def test_works_where_gradients_are_switched_off():
    features, labels = problem()
    want = fit_logistic_regression(features, labels, 4)
    with torch.no_grad():
        got = fit_logistic_regression(features, labels, 4)
    assert torch.equal(got[0], want[0]) and not got[0].requires_grad


@pytest.mark.parametrize('changes, message', [
    (dict(features=torch.ones(3)), r'features must be \[N, C\]'),
    (dict(labels=torch.zeros(5, dtype=torch.int64)), r'labels \[N\]'),
    (dict(labels=torch.full((120,), 4)), r'labels must be in \[0, 4\)'),
    (dict(num_classes=1), 'at least 2 classes'),
    (dict(features=torch.full((120, 6), float('nan'))), 'features are not finite'),
    (dict(l2=-1), 'l2 must be >= 0'),
    (dict(l2=float('nan')), 'l2 must be >= 0'),
])
def test_arguments_of_one_fit_out_of_range_are_refused(changes, message):
    features, labels = problem()
    with pytest.raises(ValueError, match=message):
        fit_logistic_regression(**{**dict(features=features, labels=labels, num_classes=4), **changes})
