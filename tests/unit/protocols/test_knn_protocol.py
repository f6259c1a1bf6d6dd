import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from mmsimclr.protocols import knn_accuracy


def digits() -> tuple:
    data, target = load_digits(return_X_y=True)
    data, target = torch.from_numpy(data).float(), torch.from_numpy(target)
    return data[:400], target[:400], data[400:600], target[400:600]


@pytest.mark.parametrize('k', [1, 20])
def test_accuracy_on_digits_equals_scikit_learns(k):
    bank, labels, queries, truth = digits()
    reference = KNeighborsClassifier(k, metric='cosine', algorithm='brute',
                                     weights=lambda d: torch.tensor((1 - d) / 0.07).exp().numpy())
    reference.fit(bank, labels)
    want = 100 * reference.score(queries, truth)
    assert 80 < want < 100
    assert knn_accuracy(bank, labels, queries, truth, 10, k=k) == pytest.approx(want)


def test_accuracy_is_a_percentage_of_the_queries():
    bank, labels = torch.eye(3), torch.tensor([0, 1, 2])
    queries, truth = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 0])
    assert knn_accuracy(bank, labels, queries, truth, 3, k=1) == 75.0
