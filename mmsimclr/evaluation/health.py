"""Label-free measures of an encoder: how many dimensions its features use, and how they are spread."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsimclr.errors import InputError

#: Added to each share of a spectrum in RankMe and LiDAR, as both papers do.
SHARE_EPS = 1e-7
#: Added to the diagonal of LiDAR's covariance within images.
LIDAR_DELTA = 1e-4
#: Below this share of the mean squared length an eigenvalue is rounding, which counts as 0.
ROUNDING = 1e-14
#: A dimension that varies by at most this share of the one that varies most is dead.
DEAD = 1e-6
MAX_PAIR_ROWS = 8192


def health(features: Tensor | np.ndarray, views: Tensor | np.ndarray | None = None) -> dict[str, float]:
    """Return measures of features of N images, float [N, D], N >= 2, by name; NaN for one without a value.

    ``rankme``: the exponential of the entropy of the singular values, at most min(N, D); features are not
    centred, and the paper takes 25,600 images. ``alpha_req``: alpha of the power law i^-alpha through all
    eigenvalues of the covariance. ``effective_dimensions``: their participation ratio, (sum)^2 / sum of
    squares; 0 if nothing varies. ``uniformity``: log of the mean over pairs of exp(-2 |u - v|^2), of unit
    length; 0 is a point, lower is more even. ``deviation``: mean deviation of a dimension.
    ``unit_deviation``: the same at unit length, times sqrt(D); 1 is even. ``dead_share``: share of the
    dimensions that do not vary.

    Of ``views``, features of V >= 2 random views of each of M >= 2 images, float [M, V, D]:
    ``alignment``, the mean squared distance of two views of an image at unit length, 0 where they agree
    and 2 where they are orthogonal; ``lidar``, the effective rank of linear discriminants of images, each
    a class of its views: the exponential of the entropy of the eigenvalues of W^-1/2 B W^-1/2, with B the
    covariance of the images' means and W that within images, at most min(M - 1, D). The paper takes 1,000
    images of 50 views.

    Raises:
        InputError: If the shape does not fit, or a number is not finite.

    Source:
        Garrido et al. 2023, RankMe, Eq. 1; Agrawal et al. 2022, alpha-ReQ, section 3 (there on a range of
        ranks chosen by hand); Wang & Isola 2020, section 4.1, with t = 2 and alpha = 2; Chen & He 2021,
        section 4.1; Thilak et al. 2023, LiDAR, section 3.2.
    """
    rows = _checked(features, 'features', 2)
    mean_square = rows.square().sum(dim=1).mean()
    spectrum = _singular_values(rows - rows.mean(dim=0)).square() / len(rows)
    spectrum = spectrum.where(spectrum > ROUNDING * mean_square, 0)
    unit, deviations = F.normalize(rows, dim=1), rows.std(dim=0, unbiased=False)
    floor = math.sqrt(ROUNDING * float(mean_square) / rows.shape[1])
    measures = dict(
        rankme=_exp_entropy(_singular_values(rows)), alpha_req=_decay(spectrum[spectrum > 0]),
        effective_dimensions=float(spectrum.sum() ** 2 / spectrum.square().sum()) if spectrum.any() else 0.0,
        uniformity=_uniformity(unit), deviation=float(deviations.mean()),
        unit_deviation=float(unit.std(dim=0, unbiased=False).mean() * math.sqrt(unit.shape[1])),
        dead_share=float((deviations <= max(DEAD * float(deviations.max()), floor)).double().mean()))
    if views is not None:
        views = _checked(views, 'views', 3)
        measures.update(lidar=_lidar(views), alignment=_alignment(F.normalize(views, dim=2)))
    return measures


def _checked(values: Tensor | np.ndarray, name: str, num_dims: int) -> Tensor:
    """Return an array as float64; refuse one of another shape, of fewer than two images, or not finite."""
    rows = torch.as_tensor(np.array(values) if isinstance(values, np.ndarray) else values).detach().double()
    shape = '[N, D] with N >= 2' if num_dims == 2 else '[N, V, D] with N >= 2 and V >= 2'
    if rows.ndim != num_dims or min(rows.shape[:-1]) < 2 or rows.shape[-1] < 1:
        raise InputError(f'{name} must be {shape}, got {list(rows.shape)}')
    if not rows.isfinite().all():
        bad = int((~rows.isfinite().flatten(1).all(dim=1)).nonzero()[0])
        raise InputError(f'{name} of image {bad} are not finite: the encoder diverged or its weights are '
                         'damaged')
    return rows


def _alignment(unit: Tensor) -> float:
    num_views = unit.shape[1]
    # Over ordered pairs, |u - v|^2 sums to 2 V sum |u|^2 - 2 |sum u|^2.
    sums = 2 * num_views * unit.square().sum(dim=(1, 2)) - 2 * unit.sum(dim=1).square().sum(dim=1)
    return max(0.0, float(sums.mean()) / (num_views * (num_views - 1)))


def _lidar(rows: Tensor) -> float:
    means = rows.mean(dim=1)
    inner = (rows - means[:, None]).flatten(0, 1)
    within = inner.T @ inner / len(inner)
    within.diagonal().add_(LIDAR_DELTA)
    centred = means - means.mean(dim=0)
    if centred.square().mean() <= ROUNDING * rows.square().mean():
        return 0.0
    # The eigenvalues wanted are the squares of the singular values of whitened means; any root of W whitens.
    root, failed = torch.linalg.cholesky_ex(within)
    if failed:                                           # features so large that the diagonal is rounding
        return math.nan
    whitened = torch.linalg.solve_triangular(root, centred.T, upper=False)
    return _exp_entropy(_singular_values(whitened).square())


def _singular_values(rows: Tensor) -> Tensor:
    """Return the singular values of a matrix, by way of its triangular factor, which is smaller."""
    tall = rows if len(rows) >= rows.shape[1] else rows.T
    return torch.linalg.svdvals(torch.linalg.qr(tall, mode='r').R)


def _exp_entropy(values: Tensor) -> float:
    """Return exp(-sum p log p) of values >= 0, p being each one's share of their sum; 0 if all are 0."""
    if not values.any():
        return 0.0
    shares = values / values.sum() + SHARE_EPS
    return float((-shares * shares.log()).sum().exp())


def _decay(values: Tensor) -> float:
    """Return minus the slope of the line through the logarithms of values > 0 and of their ranks."""
    if len(values) < 3:
        return math.nan
    ranks = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device).log()
    ranks -= ranks.mean()
    return float(-(ranks @ values.log()) / ranks.square().sum())


def _uniformity(rows: Tensor) -> float:
    """Return the uniformity of unit rows [N, D]; of more than 8,192 as many evenly spaced ones count."""
    if len(rows) > MAX_PAIR_ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, MAX_PAIR_ROWS).round().long()]
    squares = rows.square().sum(dim=1)
    total = -len(rows)                                                   # an image with itself: exp(0)
    for part, own in zip(rows.split(1024), squares.split(1024), strict=True):
        distances = own[:, None] + squares - 2 * part @ rows.T
        total += float((-2 * distances.clamp_min_(0)).exp_().sum())
    return math.log(total / (len(rows) * (len(rows) - 1)))
