"""Search among stored features: exact, and by the indices for many rows, beside all cosines."""

import numpy as np
import pytest

from mmsimclr.evaluation import knn
from mmsimclr.features import FeatureFiles, search


@pytest.fixture(scope='module')
def stored():
    """Return 3,000 features in 60 clusters, and 40 queries."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 24))
    rows = (centres[rng.integers(60, size=3000)] + 0.3 * rng.normal(size=(3000, 24))).astype(np.float32)
    queries = (centres[rng.integers(60, size=40)] + 0.3 * rng.normal(size=(40, 24))).astype(np.float32)
    return FeatureFiles({'pooled': rows}, None, None, dict(checksums=dict(pooled=[1, 2]))), queries


def cosines(features, queries):
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True)
            for part in (queries.astype(np.float64), features.stages['pooled'].astype(np.float64))]
    return unit[0] @ unit[1].T


def test_few_rows_are_searched_exactly(stored, tmp_path):
    found = search.search(stored[0], tmp_path / 'features', stored[1], k=7)
    want = cosines(*stored)
    np.testing.assert_allclose(found.similarity, -np.sort(-want, axis=1)[:, :7], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(want, found.rows, 1), found.similarity, atol=1e-5)
    assert found.recall == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize('hnsw, ivf, kind', [(100, 5000, 'HNSW'), (100, 1000, 'IVF54')])
def test_an_index_finds_what_exact_search_finds_and_is_kept(stored, tmp_path, monkeypatch, hnsw, ivf, kind):
    pytest.importorskip('faiss')
    monkeypatch.setattr(search, 'HNSW_ROWS', hnsw)
    monkeypatch.setattr(search, 'IVF_ROWS', ivf)
    features, queries = stored
    found = search.search(features, tmp_path / 'features', queries, k=10)
    want = cosines(*stored)
    exact = np.argsort(-want, axis=1)[:, :10]
    recall = np.mean([len(np.intersect1d(*rows)) / 10 for rows in zip(exact, found.rows, strict=True)])
    assert found.index.startswith(kind) and recall > 0.7
    assert found.recall == pytest.approx(recall, abs=0.15)
    np.testing.assert_allclose(np.take_along_axis(want, found.rows, 1), found.similarity, atol=1e-5)

    # More than there are, and than the lists that are looked at hold.
    for many in (4000, 500) if kind.startswith('IVF') else (4000,):
        every = search.search(features, tmp_path / 'features', queries[:3], k=many)
        np.testing.assert_allclose(every.similarity, -np.sort(-want[:3], axis=1)[:, :many], atol=1e-5)

    file, = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])              # as of a full disk: it is made again
    np.testing.assert_array_equal(
        search.search(features, tmp_path / 'features', queries, k=10).rows, found.rows)
    assert file.stat().st_size > 3000 * 24
    written = file.stat().st_mtime_ns
    again = search.search(features, tmp_path / 'features', queries, k=10)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.rows, found.rows)
    other = FeatureFiles(features.stages, None, None, dict(checksums=dict(pooled=[1, 3])))
    search.search(other, tmp_path / 'features', queries, k=10)
    assert len(list(tmp_path.iterdir())) == 2               # of other content, another index


@pytest.mark.parametrize('k', [1, 3, 8])
def test_with_and_without_faiss_neighbours_are_the_same_also_among_equals(k, monkeypatch):
    """A bank with many equal rows; the earlier go first."""
    pytest.importorskip('faiss')
    rng = np.random.default_rng(0)
    lattice = np.array([[5, 0, 0], [0, 5, 0], [3, 4, 0], [0, 3, 4]], np.float32) / 5
    bank, queries = lattice[rng.integers(4, size=60)], lattice[rng.integers(4, size=20)]
    with_faiss = knn.nearest_neighbours(queries, bank, k, bank_chunk=25)
    monkeypatch.setattr(knn, 'faiss', lambda: None)
    without = knn.nearest_neighbours(queries, bank, k, bank_chunk=25)
    assert (with_faiss[1] == without[1]).all()
    np.testing.assert_allclose(with_faiss[0], without[0], atol=1e-6)
