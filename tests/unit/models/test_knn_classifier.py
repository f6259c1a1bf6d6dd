"""Weighted k-NN against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from mmsimclr.evaluation.knn import largest, nearest_neighbours
from mmsimclr.models import KNNClassifier


def problem(num_bank: int = 60, num_queries: int = 23, num_classes: int = 4) -> tuple:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(num_classes, 5, generator=generator)
    labels = torch.randint(num_classes, (num_bank,), generator=generator)
    bank = centres[labels] + 1.5 * torch.randn(num_bank, 5, generator=generator)
    queries = centres[torch.arange(num_queries) % num_classes] + torch.randn(
        num_queries, 5, generator=generator)
    lengths = torch.rand(num_bank, 1, generator=generator) * 5 + 0.1      # only the direction counts
    return queries, bank * lengths, labels, num_classes


def sklearn_votes(queries, bank, labels, num_classes, k, temperature) -> np.ndarray:
    reference = KNeighborsClassifier(
        k, metric='cosine', algorithm='brute',
        weights=lambda distance: np.exp((1 - distance) / temperature))
    reference.fit(np.concatenate([bank.numpy()]), labels.numpy())
    assert list(reference.classes_) == list(range(num_classes))
    return reference.predict_proba(queries.numpy())


@pytest.mark.parametrize('temperature', [0.07, 1.0])
@pytest.mark.parametrize('k', [1, 3, 20])
def test_votes_equal_scikit_learns_up_to_their_sum(k, temperature):
    queries, bank, labels, num_classes = problem()
    votes = KNNClassifier(k, temperature)(queries, bank, labels, num_classes)
    got = (votes / votes.sum(dim=1, keepdim=True)).numpy()
    want = sklearn_votes(queries, bank, labels, num_classes, k, temperature)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_near_neighbours_outvote_many_distant_ones():
    bank = torch.tensor([[1., 0.], [0., 1.], [0.1, 1.], [0.2, 1.]])
    labels = torch.tensor([0, 1, 1, 1])
    query = torch.tensor([[1., 0.05]])
    assert KNNClassifier(4, 0.07)(query, bank, labels, 2).argmax() == 0
    assert KNNClassifier(4, 10.0)(query, bank, labels, 2).argmax() == 1


@pytest.mark.parametrize('chunk_size', [1, 7, 1000])
def test_chunks_do_not_change_the_votes(chunk_size):
    problem_ = problem()
    torch.testing.assert_close(KNNClassifier(5, chunk_size=chunk_size)(*problem_),
                               KNNClassifier(5, chunk_size=10)(*problem_))


def test_k_beyond_the_bank_uses_the_whole_bank():
    problem_ = problem(num_bank=8)
    assert torch.equal(KNNClassifier(50)(*problem_), KNNClassifier(8)(*problem_))


def test_a_tiny_temperature_does_not_overflow():
    votes = KNNClassifier(5, temperature=1e-4)(*problem())
    assert votes.isfinite().all() and (votes.max(dim=1).values >= 1).all()


def test_bfloat16_features_and_no_queries_are_taken():
    queries, bank, labels, num_classes = problem()
    votes = KNNClassifier(3)(queries.bfloat16(), bank.bfloat16(), labels, num_classes)
    assert votes.dtype == torch.float32
    assert KNNClassifier(3)(queries[:0], bank, labels, num_classes).shape == (0, num_classes)


@pytest.mark.parametrize('arguments', [dict(k=0), dict(chunk_size=0), dict(temperature=0),
                                       dict(temperature=float('nan'))])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=f'{next(iter(arguments))}.* must be >'):
        KNNClassifier(**arguments)


@pytest.mark.parametrize('index, wrong, message', [
    (0, torch.ones(2, 9), r'\[2, 9\] and \[60, 5\]'),
    (1, torch.ones(0, 5), 'at least one feature'),
    (2, torch.zeros(59, dtype=torch.int64), 'as many labels'),
    (2, torch.full((60,), 4), r'labels must be in \[0, 4\), got 4 to 4'),
    (0, torch.tensor([[float('nan')] * 5]), 'queries holds features that are not finite'),
    (1, torch.full((60, 5), float('inf')), 'bank holds features that are not finite'),
])
def test_data_that_cannot_be_classified_is_refused(index, wrong, message):
    arguments = list(problem())
    arguments[index] = wrong
    with pytest.raises(ValueError, match=message):
        KNNClassifier()(*arguments)


@pytest.mark.parametrize('levels', [3, 20, 10**9])
@pytest.mark.parametrize('length', [5, 63, 64, 65, 1000, 4099])
@pytest.mark.parametrize('k', [1, 2, 5])
def test_the_largest_are_those_of_a_stable_sort_however_many_are_equal(k, length, levels):
    generator = torch.Generator().manual_seed(length + k)
    values = torch.randint(levels, (7, length), generator=generator).float()
    want = values.sort(dim=1, descending=True, stable=True).indices[:, :k]
    assert torch.equal(largest(values, k), want)


def test_a_long_bank_in_pieces_gives_the_neighbours_of_a_plain_sort():
    queries, bank, *_ = problem(num_bank=5000, num_queries=9)
    similarity = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(bank).T
    want, rows = similarity.sort(dim=1, descending=True, stable=True)
    for bank_chunk in (100, 999, 4096, 9999):
        got, got_rows = nearest_neighbours(queries, bank, 10, query_chunk=4, bank_chunk=bank_chunk)
        assert torch.equal(got_rows, rows[:, :10])
        torch.testing.assert_close(got, want[:, :10])
