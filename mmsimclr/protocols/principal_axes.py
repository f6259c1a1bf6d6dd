"""Features along their principal axes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CHUNK_VALUES = 2 ** 25                                                  # numbers in memory at a time
LEAST_VARIANCE = 1e-12                                                  # of the largest; below is rounding


def row_chunks(features: Tensor | np.ndarray, rows: np.ndarray | None = None
               ) -> Iterator[tuple[slice, Tensor]]:
    """Yield places and rows [n, C] of features [N, C], or of the rows of them that are named, in order."""
    count = len(features) if rows is None else len(rows)
    step = max(1, CHUNK_VALUES // max(1, features.shape[1]))
    for start in range(0, count, step):
        where = slice(start, min(start + step, count))
        chunk = features[where] if rows is None else features[rows[where]]
        yield where, chunk if isinstance(chunk, Tensor) else torch.from_numpy(np.array(chunk))


@dataclass(frozen=True)
class PrincipalAxes:
    """An orthogonal basis of the space that centred features span.

    Attributes:
        mean: float64 [C].
        axes: Orthonormal columns, float64 [C, R], R at most N - 1.
        variances: Mean square along each axis, float64 [R], > 0.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor

    @classmethod
    def of(cls, features: Tensor | np.ndarray, rows: np.ndarray | None = None,
           device: str | torch.device = 'cpu') -> 'PrincipalAxes':
        """Return the axes of features [N, C], by the smaller of their two matrices of products.

        Raises:
            ValueError: If a feature is not finite.
        """
        count, dims = len(features) if rows is None else len(rows), features.shape[1]
        mean = torch.zeros(dims, dtype=torch.float64, device=device)
        for _, chunk in row_chunks(features, rows):
            mean += chunk.to(device).sum(dim=0, dtype=torch.float64) / count
        if not mean.isfinite().all():
            raise ValueError('features are not finite: the encoder diverged or its weights are damaged')
        if count < dims:
            centred = torch.cat([chunk.to(device, torch.float64) - mean
                                 for _, chunk in row_chunks(features, rows)])
            variances, vectors = torch.linalg.eigh(centred @ centred.T / count)
            keep = variances > LEAST_VARIANCE * variances.max()
            variances = variances[keep]
            return cls(mean, centred.T @ vectors[:, keep] / (variances * count).sqrt(), variances)
        products = torch.zeros(dims, dims, dtype=torch.float64, device=device)
        for _, chunk in row_chunks(features, rows):
            centred = chunk.to(device, torch.float64) - mean
            products += centred.T @ centred / count
        variances, vectors = torch.linalg.eigh(products)
        keep = variances > LEAST_VARIANCE * variances.max()
        return cls(mean, vectors[:, keep], variances[keep])

    def rotate(self, features: Tensor | np.ndarray, rows: np.ndarray | None = None) -> Tensor:
        """Return the coordinates [N, R] of features [N, C], in double precision if they are, else single."""
        double = features.dtype in (torch.float64, np.float64)
        out = torch.empty(len(features) if rows is None else len(rows), self.axes.shape[1],
                          dtype=torch.float64 if double else torch.float32, device=self.axes.device)
        for where, chunk in row_chunks(features, rows):
            out[where] = ((chunk.to(self.axes) - self.mean) @ self.axes).to(out.dtype)
        return out

    def to_features(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight [K, C] and bias [K] for features, of those for coordinates, [K, R] and [K]."""
        weight = weight @ self.axes.T
        return weight, bias - weight @ self.mean
