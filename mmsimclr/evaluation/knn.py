"""k nearest neighbours by cosine (Wu et al. 2018, section 3.4): search, weighted vote, accuracy."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsimclr.errors import InputError


@torch.no_grad()
def nearest_neighbours(queries: Tensor | np.ndarray, bank: Tensor | np.ndarray, k: int,
                       query_chunk: int = 1024, bank_chunk: int | None = None,
                       device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Return the features of a bank that are nearest to each query, by cosine.

    A memory-mapped bank is read in pieces of ``bank_chunk`` rows: by default 65,536 where faiss compares,
    which keeps no similarities, else 16,384, of which query_chunk x bank_chunk similarities are in memory.
    Queries, float [Q, D], and bank, float [B, D], need not be unit norm. ValueError if one is not finite.

    Returns:
        Similarities, float32 [Q, min(k, B)], largest first, and the neighbours' rows in the bank, int64.
        Among equal similarities the earlier row comes first.
    """
    device = device or (bank.device if isinstance(bank, Tensor) else 'cpu')
    k = min(k, len(bank))
    bank_chunk = bank_chunk or (65536 if faiss() and torch.device(device).type == 'cpu' else 16384)
    # The bank is read once, so it is the outer loop; the best so far of all queries are small.
    best = torch.full((len(queries), k), -torch.inf)
    rows = torch.zeros(len(queries), k, dtype=torch.int64)
    for start in range(0, len(bank), bank_chunk):
        part = _unit(bank[start:start + bank_chunk], device)
        for first in range(0, len(queries), query_chunk):
            chunk = slice(first, first + query_chunk)
            similarity, order = _nearest_of_part(_unit(queries[chunk], device), part, min(k, len(part)))
            if len(part) == len(bank):
                best[chunk], rows[chunk] = similarity.cpu(), order.cpu()
                continue
            # The earlier rows go first, so that equals stay in the bank's order.
            merged = torch.cat([best[chunk].to(device), similarity], dim=1)
            merged_rows = torch.cat([rows[chunk].to(device), order + start], dim=1)
            order = largest(merged, k)
            best[chunk] = merged.gather(1, order).cpu()
            rows[chunk] = merged_rows.gather(1, order).cpu()
    if not torch.isfinite(best).all():
        name = 'bank' if _unit(queries, device).isfinite().all() else 'queries'
        raise InputError(f'{name} holds features that are not finite: the encoder diverged or its weights '
                         'are damaged')
    return best.to(device), rows.to(device)


def _nearest_of_part(queries: Tensor, part: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest similarities of unit rows, float [q, k], and the places of these in the part."""
    similarity = order = None
    cut = torch.ones(len(queries), dtype=torch.bool)
    # Of unit rows a sum is finite, unless one of their numbers is not.
    if (library := faiss()) and part.device.type == 'cpu' and part.sum().isfinite() and \
            queries.sum().isfinite():
        found, places = library.knn(queries.numpy(), part.numpy(), min(k + 1, len(part)),
                                    metric=library.METRIC_INNER_PRODUCT)
        # It orders equals as it likes, as topk does.
        tied = (found[:, 1:] == found[:, :-1]).any(axis=1)
        by_value = np.lexsort((places[tied], -found[tied]), axis=1)
        places[tied] = np.take_along_axis(places[tied], by_value, 1)
        found, places = torch.from_numpy(found), torch.from_numpy(places)
        cut = (found[:, k - 1] == found[:, -1]) & (len(part) > k)
        similarity, order = found[:, :k].contiguous(), places[:, :k].contiguous()
    if cut.any():
        values = (queries if similarity is None else queries[cut]) @ part.T                       # [q, b]
        places = largest(values, k)
        if similarity is None:
            return values.gather(1, places), places
        similarity[cut], order[cut] = values.gather(1, places), places
    return similarity, order


@cache
def faiss() -> ModuleType | None:
    """Return the library faiss, which compares about 1.6 times as fast on a CPU; None if it is not there."""
    return import_module('faiss') if find_spec('faiss') else None


def _unit(rows: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    rows = torch.from_numpy(np.array(rows)) if isinstance(rows, np.ndarray) else rows
    return F.normalize(rows.to(device).float(), dim=1)


def largest(values: Tensor, k: int) -> Tensor:
    """Return the places [N, k] of the k largest of each row, largest first, the earlier of equals first."""
    top = values.topk(min(k + 1, values.shape[1]), dim=1)
    # topk orders equals, which a bank with duplicates has, as it likes.
    order = top.indices[:, :k].sort(dim=1).values
    order = order.gather(1, values.gather(1, order).sort(dim=1, descending=True, stable=True).indices)
    # It also takes which of them it likes, where they are more than there is room for.
    cut = (top.values[:, k - 1] == top.values[:, -1]).nonzero()[:, 0]
    if values.shape[1] > k and len(cut):
        order[cut] = values[cut].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return order


def vote(similarity: Tensor, neighbour_labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Return the votes of neighbours for every class, float32 [Q, num_classes].

    A vote is exp(similarity / temperature), relative to the best neighbour's so that it cannot overflow.
    Similarities, float [Q, k], are sorted, the largest first; classes of neighbours are int64 [Q, k].
    """
    weight = ((similarity - similarity[:, :1]) / temperature).exp()
    return weight.new_zeros(len(weight), num_classes).scatter_add_(1, neighbour_labels, weight)


def knn_votes(queries: Tensor, bank: Tensor, labels: Tensor, num_classes: int, k: int = 20,
              temperature: float = 0.07, query_chunk: int = 1024) -> Tensor:
    """Return the votes of each query's nearest neighbours, float32 [Q, num_classes].

    ``labels`` are the classes of the bank, int64 [B], in [0, num_classes). The ``temperature`` of the votes
    is dimensionless and > 0. The other arguments are those of :func:`nearest_neighbours`.

    Raises:
        ValueError: If an argument is out of range, shapes disagree, or a feature is not finite.
    """
    check_vote(k, temperature)
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise InputError('queries and bank must be [Q, D] and [B, D], got '
                         f'{list(queries.shape)} and {list(bank.shape)}')
    if len(bank) == 0 or labels.shape != (len(bank),):
        raise InputError('the bank must hold at least one feature and as many labels, got '
                         f'{len(bank)} features and labels of shape {list(labels.shape)}')
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f'labels must be in [0, {num_classes}), got {int(labels.min())} to '
                         f'{int(labels.max())}')
    similarity, rows = nearest_neighbours(queries, bank, k, query_chunk)
    return vote(similarity, labels.to(bank.device)[rows], num_classes, temperature)


def check_vote(k: int, temperature: float) -> None:
    """Refuse a number of neighbours below 1, and a temperature that is not > 0."""
    if k < 1:
        raise InputError(f'k must be >= 1, got {k}')
    if not temperature > 0:
        raise InputError(f'temperature must be > 0, got {temperature} (0.07 is usual)')


def knn_accuracy(train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor,
                 num_classes: int, k: int = 20, temperature: float = 0.07) -> float:
    """Return the top-1 accuracy in percent of a weighted k-NN classifier; see :func:`knn_votes`.

    Example:
        >>> import torch
        >>> from mmsimclr import knn_accuracy
        >>> features, labels = torch.eye(3), torch.tensor([0, 1, 2])
        >>> knn_accuracy(features, labels, features[:2], torch.tensor([0, 2]), num_classes=3, k=1)
        50.0
    """
    votes = knn_votes(test_features, train_features, train_labels, num_classes, k, temperature)
    return 100.0 * (votes.argmax(dim=1) == test_labels.to(votes.device)).float().mean().item()


def top_accuracies(similarity: Tensor, neighbour_labels: Tensor, truth: Tensor, num_classes: int,
                   temperature: float) -> tuple[float, float, Tensor]:
    """Return top-1 and top-5 accuracy in percent, and the predicted classes, int64 [Q].

    A class without votes is in no top 5. Of classes with equal votes the one with the lower number goes
    first. The arguments are those of :func:`vote`, and the true classes, int64 [Q].
    """
    hits_1 = hits_5 = 0
    predicted = []
    for chunk in torch.arange(len(truth), device=truth.device).split(4096):
        votes = vote(similarity[chunk], neighbour_labels[chunk], num_classes, temperature)
        classes = largest(votes, min(5, num_classes))
        hit = (classes == truth[chunk, None]) & (votes.gather(1, classes) > 0)
        hits_1 += int(hit[:, 0].sum())
        hits_5 += int(hit.any(dim=1).sum())
        predicted.append(classes[:, 0])
    return 100 * hits_1 / len(truth), 100 * hits_5 / len(truth), torch.cat(predicted)
