"""Label-free measures of an encoder: how many dimensions its features use, and how they are spread."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsimclr.errors import InputError

#: Added to each share of a spectrum in RankMe, as the paper does.
SHARE_EPS = 1e-7
#: Below this share of the mean squared length an eigenvalue is rounding, which counts as 0.
ROUNDING = 1e-14
#: A dimension that varies by at most this share of the one that varies most is dead.
DEAD = 1e-6
MAX_PAIR_ROWS = 8192


def health(features: Tensor | np.ndarray) -> dict[str, float]:
    """Return measures of features of N images, float [N, D], N >= 2, by name; NaN for one without a value.

    ``rankme``: the exponential of the entropy of the singular values, at most min(N, D); features are not
    centred, and the paper takes 25,600 images. ``alpha_req``: alpha of the power law i^-alpha through all
    eigenvalues of the covariance. ``effective_dimensions``: their participation ratio, (sum)^2 / sum of
    squares; 0 if nothing varies. ``uniformity``: log of the mean over pairs of exp(-2 |u - v|^2), of unit
    length; 0 is a point, lower is more even. ``deviation``: mean deviation of a dimension.
    ``unit_deviation``: the same at unit length, times sqrt(D); 1 is even. ``dead_share``: share of the
    dimensions that do not vary.

    Raises:
        InputError: If the shape does not fit, or a number is not finite.

    Source:
        Garrido et al. 2023, RankMe, Eq. 1; Agrawal et al. 2022, alpha-ReQ, section 3 (there on a range of
        ranks chosen by hand); Wang & Isola 2020, section 4.1, with t = 2; Chen & He 2021, section 4.1.
    """
    rows = torch.as_tensor(features)
    if rows.ndim != 2 or len(rows) < 2 or rows.shape[1] < 1:
        raise InputError(f'features must be [N, D] with N >= 2, got {list(rows.shape)}')
    rows = rows.detach().double()
    if not rows.isfinite().all():
        bad = int((~rows.isfinite().all(dim=1)).nonzero()[0])
        raise InputError(f'features of image {bad} are not finite: the encoder diverged or its weights are '
                         'damaged')
    mean_square = rows.square().sum(dim=1).mean()
    spectrum = torch.linalg.svdvals(rows - rows.mean(dim=0)).square() / len(rows)
    spectrum = spectrum.where(spectrum > ROUNDING * mean_square, 0)
    unit, deviations = F.normalize(rows, dim=1), rows.std(dim=0, unbiased=False)
    floor = math.sqrt(ROUNDING * float(mean_square) / rows.shape[1])
    return dict(
        rankme=_rankme(rows), alpha_req=_decay(spectrum[spectrum > 0]),
        effective_dimensions=float(spectrum.sum() ** 2 / spectrum.square().sum()) if spectrum.any() else 0.0,
        uniformity=_uniformity(unit), deviation=float(deviations.mean()),
        unit_deviation=float(unit.std(dim=0, unbiased=False).mean() * math.sqrt(unit.shape[1])),
        dead_share=float((deviations <= max(DEAD * float(deviations.max()), floor)).double().mean()))


def _rankme(rows: Tensor) -> float:
    values = torch.linalg.svdvals(rows)
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
