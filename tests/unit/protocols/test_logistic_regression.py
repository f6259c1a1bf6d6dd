"""The linear probe against scikit-learn's logistic regression."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mmsimclr.evaluation import fit_logistic_regression, linear_accuracy


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
def test_wrong_input_is_refused(changes, message):
    features, labels = problem()
    with pytest.raises(ValueError, match=message):
        fit_logistic_regression(**{**dict(features=features, labels=labels, num_classes=4), **changes})
