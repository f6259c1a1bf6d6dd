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
    """Return all measures of this module by name.

    Args:
        features: Features of N images, float [N, D], N >= 2.
        views: Features of several random views of images, float [M, V, D], M >= 2 and V >= 2; without them
            there are no ``lidar`` and ``alignment``.

    Returns:
        ``rankme``, ``alpha_req``, ``effective_dimensions``, ``uniformity``, ``deviation``,
        ``unit_deviation``, ``dead_share``, and of views ``lidar`` and ``alignment``. A measure that does not
        exist for these features is NaN; its function says when.

    Raises:
        InputError: If a shape does not fit, or a number is not finite.
    """
    rows = _checked(features, 'features', 2)
    deviations = rows.std(dim=0, unbiased=False)
    measures = dict(
        rankme=rankme(rows), alpha_req=alpha_req(rows), effective_dimensions=effective_dimensions(rows),
        uniformity=uniformity(rows), deviation=float(deviations.mean()), unit_deviation=unit_deviation(rows),
        dead_share=dead_share(rows))
    return measures if views is None else {**measures, 'lidar': lidar(views), 'alignment': alignment(views)}


def rankme(features: Tensor | np.ndarray) -> float:
    """Return RankMe: the exponential of the entropy of the singular values of features [N, D].

    It is at most min(N, D), so encoders can be compared only at one D, and with N well above it; the paper
    takes 25,600 images. Features are not centred. Of features that are all 0 it is 0.

    Source:
        Garrido et al. 2023, RankMe, Eq. 1.
    """
    return _exp_entropy(torch.linalg.svdvals(_checked(features, 'features', 2)))


def alpha_req(features: Tensor | np.ndarray) -> float:
    """Return alpha of the power law i^-alpha that the eigenvalues of the features' covariance follow.

    It is minus the slope of a straight line through the logarithms of all eigenvalues that are not rounding
    and those of their ranks i = 1, 2, ..., by least squares; NaN with fewer than three. The paper finds alpha
    near 1 in good encoders; larger is a faster decay, 0 an isotropic one. The authors' code fits a
    range of ranks that it chooses by hand; here all count.

    Source:
        Agrawal et al. 2022, alpha-ReQ, section 3.
    """
    values = _covariance_spectrum(_checked(features, 'features', 2))
    values = values[values > 0]
    if len(values) < 3:
        return math.nan
    ranks = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device).log()
    ranks -= ranks.mean()
    return float(-(ranks @ values.log()) / ranks.square().sum())


def effective_dimensions(features: Tensor | np.ndarray) -> float:
    """Return the participation ratio of the covariance's eigenvalues, (sum)^2 / sum of squares.

    It is D for features that vary equally in all directions, 1 for a line, 0 if they do not vary.
    """
    values = _covariance_spectrum(_checked(features, 'features', 2))
    return float(values.sum() ** 2 / values.square().sum()) if values.any() else 0.0


def uniformity(features: Tensor | np.ndarray) -> float:
    """Return log of the mean over pairs of images of exp(-2 |u - v|^2), of features scaled to unit length.

    It is 0 if all point in one direction; the lower, the more evenly they lie on the sphere. Of more than
    8,192 images as many evenly spaced ones count.

    Source:
        Wang & Isola 2020, section 4.1, with t = 2.
    """
    rows = F.normalize(_checked(features, 'features', 2), dim=1)
    if len(rows) > MAX_PAIR_ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, MAX_PAIR_ROWS).round().long()]
    squares = rows.square().sum(dim=1)
    total = -len(rows)                                                   # an image with itself: exp(0)
    for part, own in zip(rows.split(1024), squares.split(1024), strict=True):
        distances = own[:, None] + squares - 2 * part @ rows.T
        total += float((-2 * distances.clamp_min_(0)).exp_().sum())
    return math.log(total / (len(rows) * (len(rows) - 1)))


def alignment(views: Tensor | np.ndarray) -> float:
    """Return the mean squared distance of two views of one image, of unit length, given all, [N, V, D].

    It is 0 if all views of an image agree, 2 if they are orthogonal.

    Source:
        Wang & Isola 2020, section 4.1, with alpha = 2.
    """
    rows = F.normalize(_checked(views, 'views', 3), dim=2)
    num_views = rows.shape[1]
    # Over ordered pairs, |u - v|^2 sums to 2 V sum |u|^2 - 2 |sum u|^2.
    sums = 2 * num_views * rows.square().sum(dim=(1, 2)) - 2 * rows.sum(dim=1).square().sum(dim=1)
    return max(0.0, float(sums.mean()) / (num_views * (num_views - 1)))


def lidar(views: Tensor | np.ndarray) -> float:
    """Return LiDAR: the effective rank of linear discriminants of images, each a class of its V views.

    It is the exponential of the entropy of the eigenvalues of W^-1/2 B W^-1/2, where B is the covariance of
    the images' means and W the one within images plus 1e-4 on its diagonal. It is at most min(N - 1, D); the
    paper takes 1,000 images of 50 views. Where the means of all images agree it is 0.

    Args:
        views: Features of V random views of each of N images, float [N, V, D].

    Source:
        Thilak et al. 2023, LiDAR, section 3.2.
    """
    rows = _checked(views, 'views', 3)
    means = rows.mean(dim=1)
    inner = (rows - means[:, None]).flatten(0, 1)
    within = inner.T @ inner / len(inner)
    within.diagonal().add_(LIDAR_DELTA)
    values, axes = torch.linalg.eigh(within)
    centred = means - means.mean(dim=0)
    if centred.square().mean() <= ROUNDING * rows.square().mean():
        return 0.0
    # The eigenvalues wanted are the squares of the singular values of whitened means.
    whitened = centred @ axes * values.rsqrt() / math.sqrt(len(means))
    return _exp_entropy(torch.linalg.svdvals(whitened).square())


def unit_deviation(features: Tensor | np.ndarray) -> float:
    """Return sqrt(D) times the mean deviation of a dimension of features [N, D] scaled to unit length.

    It is 1 if they are spread evenly over the sphere, 0 if they collapsed to a point.

    Source:
        Chen & He 2021, SimSiam, section 4.1 and Figure 2.
    """
    rows = F.normalize(_checked(features, 'features', 2), dim=1)
    return float(rows.std(dim=0, unbiased=False).mean() * math.sqrt(rows.shape[1]))


def dead_share(features: Tensor | np.ndarray) -> float:
    """Return the share of dimensions of features [N, D] that do not vary, 0 to 1.

    Such a dimension varies by at most 1e-6 of the one that varies most.
    """
    rows = _checked(features, 'features', 2)
    deviations = rows.std(dim=0, unbiased=False)
    floor = math.sqrt(ROUNDING * float(rows.square().mean()))
    return float((deviations <= max(DEAD * float(deviations.max()), floor)).double().mean())


def _checked(values: Tensor | np.ndarray, name: str, num_dims: int) -> Tensor:
    """Return an array as float64; refuse one of another shape, of fewer than two images, or not finite."""
    rows = torch.as_tensor(np.array(values) if isinstance(values, np.ndarray) else values)
    shape = '[N, D] with N >= 2' if num_dims == 2 else '[N, V, D] with N >= 2 and V >= 2'
    if rows.ndim != num_dims or min(rows.shape[:num_dims - 1]) < 2 or rows.shape[-1] < 1:
        raise InputError(f'{name} must be {shape}, got {list(rows.shape)}')
    rows = rows.detach().double()
    if not rows.isfinite().all():
        bad = int((~rows.isfinite().flatten(1).all(dim=1)).nonzero()[0])
        raise InputError(f'{name} of image {bad} are not finite: the encoder diverged or its weights are '
                         'damaged')
    return rows


def _covariance_spectrum(rows: Tensor) -> Tensor:
    """Return the eigenvalues of the covariance of features [N, D], the largest first; rounding is 0."""
    values = torch.linalg.svdvals(rows - rows.mean(dim=0)).square() / len(rows)
    return values.where(values > ROUNDING * rows.square().sum(dim=1).mean(), 0)


def _exp_entropy(values: Tensor) -> float:
    """Return exp(-sum p log p) of values >= 0, p being each one's share of their sum; 0 if all are 0."""
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values / total + SHARE_EPS
    return float((-shares * shares.log()).sum().exp())
