"""Nearest neighbours: a stable sort of all similarities as oracle."""

import numpy as np
import pytest
import torch

from mmsimclr.evaluation import knn_accuracy
from mmsimclr.evaluation.knn import largest, nearest_neighbours


def lattice(num: int, seed: int = 0) -> np.ndarray:
    """Return directions out of six, so that many similarities are equal."""
    directions = np.array([[5, 0, 0], [0, 5, 0], [0, 0, 5], [3, 4, 0], [0, 3, 4], [4, 0, 3]], np.float32) / 5
    return directions[np.random.default_rng(seed).integers(6, size=num)]


@pytest.mark.parametrize('query_chunk, bank_chunk', [(1, 1), (4, 3), (31, 7), (7, 50), (1000, 1000)])
def test_pieces_of_any_size_give_the_neighbours_of_a_stable_sort(query_chunk, bank_chunk):
    bank, queries = lattice(50), lattice(31, seed=1)
    want = (queries @ bank.T).round(5)
    rows = np.argsort(-want, axis=1, kind='stable')[:, :9]
    similarity, got = nearest_neighbours(queries, bank, 9, query_chunk, bank_chunk)
    assert np.array_equal(got, rows)
    np.testing.assert_allclose(similarity, np.take_along_axis(want, rows, axis=1), atol=1e-5)


def test_the_earliest_of_more_equals_than_there_is_room_for_are_taken():
    values = torch.tensor([[1., 3., 2., 2., 2., 2., 0., 2.], [0., 0., 0., 0., 0., 0., 0., 0.],
                           [7., 6., 5., 4., 3., 2., 1., 0.]])
    for k in range(1, 9):
        want = values.sort(dim=1, descending=True, stable=True).indices[:, :k]
        assert torch.equal(largest(values, k), want)


class CountedReads(np.ndarray):
    """Remembers how many rows are read at once."""

    def __getitem__(self, key):
        part = super().__getitem__(key)
        if isinstance(key, slice):
            CountedReads.most = max(CountedReads.most, len(part))
        return part


def test_a_memory_mapped_bank_is_never_read_as_a_whole(tmp_path):
    rows = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    np.save(tmp_path / 'bank.npy', rows)
    bank = np.load(tmp_path / 'bank.npy', mmap_mode='r')
    CountedReads.most = 0
    got = nearest_neighbours(rows[:9], bank.view(CountedReads), 4, query_chunk=5, bank_chunk=64)
    assert CountedReads.most == 64
    for found, want in zip(got, nearest_neighbours(rows[:9], rows, 4), strict=True):
        torch.testing.assert_close(found, want)


def test_accuracy_is_a_percentage_of_the_queries():
    bank, labels = torch.eye(3), torch.tensor([0, 1, 2])
    queries, truth = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 0])
    assert knn_accuracy(bank, labels, queries, truth, 3, k=1) == 75.0


@pytest.mark.parametrize('part', ['queries', 'bank'])
def test_features_that_are_not_finite_are_refused_by_name(part):
    parts = dict(queries=lattice(9), bank=lattice(20))
    parts[part][3, 1] = np.inf
    with pytest.raises(ValueError, match=f'{part} holds features that are not finite'):
        nearest_neighbours(**parts, k=4)
