"""Nearest neighbours by cosine similarity, and their weighted vote."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsimclr.errors import InputError


@torch.no_grad()
def nearest_neighbours(queries: Tensor | np.ndarray, bank: Tensor | np.ndarray, k: int,
                       query_chunk: int = 1024, bank_chunk: int = 16384,
                       device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Return the features of a bank that are nearest to each query, by cosine.

    The best k so far are merged with those of one piece of the bank after another, so memory is bounded
    by query_chunk x bank_chunk floats, whatever the bank's size; a memory-mapped array is read piece by
    piece.

    Args:
        queries: Float [Q, D]; need not be unit norm.
        bank: Float [B, D].
        k: Number of neighbours, >= 1; at most B are returned.
        query_chunk: Queries compared at once.
        bank_chunk: Features of the bank compared at once.
        device: Where to compute; that of the bank by default.

    Returns:
        Similarities, float32 [Q, min(k, B)], largest first, and the neighbours' rows in the bank, int64.
        Among equal similarities the earlier row comes first.

    Raises:
        ValueError: If a feature is not finite.
    """
    device = device or (bank.device if isinstance(bank, Tensor) else 'cpu')
    k = min(k, len(bank))
    # The bank is read once, so it is the outer loop; the best so far of all queries are small.
    best = torch.full((len(queries), k), -torch.inf)
    rows = torch.zeros(len(queries), k, dtype=torch.int64)
    for start in range(0, len(bank), bank_chunk):
        part = _unit(bank[start:start + bank_chunk], device)
        for first in range(0, len(queries), query_chunk):
            chunk = slice(first, first + query_chunk)
            similarity = _unit(queries[chunk], device) @ part.T                          # [q, b]
            order = largest(similarity, min(k, len(part)))
            # The earlier rows go first, so that equals stay in the bank's order.
            merged = torch.cat([best[chunk].to(device), similarity.gather(1, order)], dim=1)
            merged_rows = torch.cat([rows[chunk].to(device), order + start], dim=1)
            order = largest(merged, k)
            best[chunk] = merged.gather(1, order).cpu()
            rows[chunk] = merged_rows.gather(1, order).cpu()
    if not torch.isfinite(best).all():
        raise InputError('features must be finite, and some are not: the encoder diverged or is damaged')
    return best.to(device), rows.to(device)


def vote(similarity: Tensor, neighbour_labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Return the votes of neighbours for every class.

    Args:
        similarity: Cosine similarities, float [Q, k], largest first.
        neighbour_labels: Classes of the neighbours, int64 [Q, k].
        num_classes: Number of classes.
        temperature: Temperature of the votes, dimensionless, > 0.

    Returns:
        Votes, float32 [Q, num_classes]: exp(similarity / temperature), relative to the best neighbour's,
        which leaves the ranking as it is and cannot overflow.
    """
    weight = ((similarity - similarity[:, :1]) / temperature).exp()
    return weight.new_zeros(len(weight), num_classes).scatter_add_(1, neighbour_labels, weight)


def _unit(rows: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    rows = torch.from_numpy(np.array(rows)) if isinstance(rows, np.ndarray) else rows
    return F.normalize(rows.to(device).float(), dim=1)


def largest(values: Tensor, k: int) -> Tensor:
    """Return the places of the k largest of each row, largest first, the earlier of equals first.

    Args:
        values: [N, M].
        k: From 1 to M.

    Returns:
        int64 [N, k].
    """
    top = values.topk(min(k + 1, values.shape[1]), dim=1)
    # topk orders equals, which a bank with duplicates has, as it likes.
    order = top.indices[:, :k].sort(dim=1).values
    order = order.gather(1, values.gather(1, order).sort(dim=1, descending=True, stable=True).indices)
    # It also takes which of them it likes, where they are more than there is room for.
    cut = (top.values[:, k - 1] == top.values[:, -1]).nonzero()[:, 0]
    if values.shape[1] > k and len(cut):
        order[cut] = values[cut].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return order
