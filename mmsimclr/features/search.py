"""Search for images among stored features: exactly, or by an index of faiss, in bounded memory."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from numpy import ndarray

from mmsimclr.evaluation.knn import faiss, nearest_neighbours
from mmsimclr.evaluation.retrieval import unit
from mmsimclr.features.extraction import FeatureFiles
from mmsimclr.features.fingerprint import settings_sha256
from mmsimclr.files import atomic_writer

#: Rows from which on an index is made: a graph (HNSW), then lists around centres (IVF), with a byte a number.
HNSW_ROWS, IVF_ROWS = 50_000, 200_000
CHUNK_ROWS, TRAIN_ROWS = 16_384, 100_000
RERANKED = 10                                               # candidates of an index for each neighbour
RECALL_QUERIES, RECALL_K = 100, 10


@dataclass(frozen=True)
class Found:
    """Neighbours of Q queries: similarities, float32 [Q, k], and rows, int64 [Q, k], nearest first."""

    similarity: ndarray
    rows: ndarray
    index: str                                  # how they were found, for people
    recall: float                               # share of the exact 10 nearest that are found


def search(features: FeatureFiles, path: str | Path, queries: ndarray, k: int = 10) -> Found:
    """Return the rows of stored features that are nearest to each query by cosine.

    Up to ``HNSW_ROWS`` rows, or without faiss, the search is exact and reads the file piece by piece. For
    more rows an index is made once, and kept beside the features. It has a byte for each of their numbers;
    what it finds is compared exactly. Where it finds fewer than k, exact search takes its place. Its recall
    is measured on 100 rows beside exact search.

    Args:
        features: Of one stage; read from ``path``.
        path: Their file or folder.
        queries: Float [Q, D].
        k: Number of neighbours.
    """
    (stage, rows), = features.stages.items()
    if faiss() is None or len(rows) <= HNSW_ROWS:
        found = [part.numpy() for part in nearest_neighbours(queries, rows, k)]
        return Found(*found, 'exact search', 1.0)
    kind = f'IVF{math.isqrt(len(rows))},SQ8' if len(rows) > IVF_ROWS else 'HNSW32_SQ8'
    # The checksums name the content, so an index never serves other features.
    name = settings_sha256(dict(stage=stage, kind=kind, **features.manifest.get('checksums', {})))[:12]
    file = Path(f'{Path(path).resolve()}.{name}.faiss')
    try:
        index = faiss().read_index(str(file))
    except RuntimeError:                                    # there is none, or it is damaged
        print_log(f'making the index {kind} of {len(rows):,} rows, once: {file}', 'current')
        index = make_index(rows, kind)
        with atomic_writer(file) as out:
            faiss().write_index(index, faiss().PyCallbackIOWriter(out.write))
    if kind.startswith('IVF'):
        index.nprobe = max(1, index.nlist // 16)
    else:
        index.hnsw.efSearch = 128
    asked = rows[np.linspace(0, len(rows) - 1, RECALL_QUERIES).astype(int)]
    exact = nearest_neighbours(asked, rows, RECALL_K)[1].numpy()
    approximate = _reranked(index, rows, asked, RECALL_K)[1]
    recall = np.mean([len(np.intersect1d(a, b)) / RECALL_K for a, b in zip(exact, approximate, strict=True)])
    return Found(*_reranked(index, rows, queries, k), kind, float(recall))


def make_index(rows: ndarray, kind: str) -> object:
    """Return faiss's index of the directions of rows, float [N, D], which are read piece by piece."""
    index = faiss().index_factory(rows.shape[1], kind)
    sample = np.linspace(0, len(rows) - 1, min(TRAIN_ROWS, len(rows))).astype(int)
    index.train(unit(rows[sample]))
    for start in range(0, len(rows), CHUNK_ROWS):
        index.add(unit(rows[start:start + CHUNK_ROWS]))
    return index


def _reranked(index: object, rows: ndarray, queries: ndarray, k: int) -> tuple[ndarray, ndarray]:
    queries, k = unit(queries), min(k, len(rows))
    candidates = index.search(queries, min(RERANKED * k, len(rows)))[1]
    if (candidates[:, k - 1] < 0).any():                    # lists that were looked at hold fewer
        similarity, best = nearest_neighbours(queries, rows, k)
        return similarity.numpy(), best.numpy()
    similarity = np.empty((len(queries), k), np.float32)
    best = np.empty((len(queries), k), np.int64)
    for number, places in enumerate(candidates):
        places = np.sort(places[places >= 0])                           # -1 where a list ended
        values = unit(rows[places]) @ queries[number]
        order = np.argsort(-values, kind='stable')[:k]
        similarity[number], best[number] = values[order], places[order]
    return similarity, best
