"""Features stored in float16 are measured in float32 or more: their lengths and sums go beyond 65,504."""

import numpy as np
import pytest
import torch

from mmsimclr.evaluation import linear_accuracy, nearest_neighbours, regression_path
from mmsimclr.evaluation.health import health
from mmsimclr.evaluation.linear_svm import svm_features


@pytest.fixture
def halves() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    centres = 40_000 * random.random((3, 12))
    return (centres[labels] + 8_000 * random.random((60, 12))).astype(np.float16), labels


def test_neighbours_svm_and_health(halves):
    rows, _ = halves
    assert np.isfinite(rows).all() and (np.linalg.norm(rows.astype(float), axis=1) > 65504).any()
    for got, want in zip(nearest_neighbours(rows, rows, 5), nearest_neighbours(
            rows.astype(np.float32), rows.astype(np.float32), 5), strict=True):
        assert torch.equal(got, want)
    for got, want in zip(svm_features(rows, rows), svm_features(rows.astype(float), rows.astype(float)),
                         strict=True):
        assert np.array_equal(got, want)
    assert health(rows) == health(rows.astype(float))


def test_logistic_regression(halves):
    rows, labels = halves
    (got,), (want,) = (list(regression_path(values, labels, 3, [1e-3]))
                       for values in (rows, rows.astype(np.float32)))
    assert torch.equal(got.weight, want.weight) and got.weight.isfinite().all()
    first, truth = torch.from_numpy(rows), torch.from_numpy(labels)
    assert linear_accuracy(first, truth, first, truth, 3) == linear_accuracy(
        first.float(), truth, first.float(), truth, 3) > 90
