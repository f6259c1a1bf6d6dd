"""L2-regularised logistic regression on features, by L-BFGS along their principal axes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsimclr.errors import InputError

CHUNK_VALUES = 2 ** 25                                                  # numbers in memory at a time
LEAST_VARIANCE = 1e-12                                                  # of the largest; below is rounding
# On the squared gradient, in coordinates of curvature about 1: the objective is then within about 1e-6 of
# its least value, relatively (tests hold it against scikit-learn's).
TOLERANCE = 1e-8


def minimise(function: Callable[[Tensor], tuple[float, Tensor]], start: Tensor, tolerance: float,
             max_iterations: int) -> tuple[Tensor, bool]:
    """Return where a function is least, by scipy's L-BFGS, and whether the search converged.

    ``function`` returns value and gradient at a point; it is convex, positive, of curvatures about 1. The
    search has converged when the squared norm of the gradient is at most ``tolerance`` times the value, or
    when no step lowers the value any more, for lack of digits.
    """
    from scipy.optimize import minimize  # here, since every training imports this package
    has_converged = False

    def on_host(point: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal has_converged
        value, gradient = function(torch.from_numpy(point).to(start).view_as(start))
        has_converged = gradient.square().sum().item() <= tolerance * value
        return value, gradient.cpu().numpy().ravel()

    def stop(point: np.ndarray) -> None:
        if has_converged:
            raise StopIteration

    found = minimize(on_host, start.cpu().numpy().ravel(), jac=True, method='L-BFGS-B', callback=stop,
                     options=dict(maxiter=max_iterations, maxfun=20 * max_iterations, ftol=0, gtol=0))
    return torch.from_numpy(found.x).to(start).view_as(start), found.status != 1


def row_chunks(features: Tensor | np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Yield places and rows [n, C] of features [N, C], in order."""
    step = max(1, CHUNK_VALUES // max(1, features.shape[1]))
    for start in range(0, len(features), step):
        where = slice(start, min(start + step, len(features)))
        chunk = features[where]
        yield where, chunk if isinstance(chunk, Tensor) else torch.from_numpy(np.array(chunk))


@dataclass(frozen=True)
class PrincipalAxes:
    """An orthogonal basis of the space that centred features span; all in float64."""

    mean: Tensor                                                                            # [C]
    axes: Tensor                                                # orthonormal columns, [C, R], R at most N - 1
    variances: Tensor                                           # mean square along each axis, [R], > 0

    @classmethod
    def of(cls, features: Tensor | np.ndarray, device: str | torch.device = 'cpu') -> 'PrincipalAxes':
        """Return the axes of features [N, C], by the smaller of their two matrices of products."""
        count, dims = features.shape
        mean = torch.zeros(dims, dtype=torch.float64, device=device)
        for _, chunk in row_chunks(features):
            mean += chunk.to(device).sum(dim=0, dtype=torch.float64) / count
        if not mean.isfinite().all():
            raise InputError('features are not finite: the encoder diverged or its weights are damaged')
        if count < dims:
            centred = torch.cat([chunk.to(device, torch.float64) - mean for _, chunk in row_chunks(features)])
            products = centred @ centred.T / count
        else:
            products = torch.zeros(dims, dims, dtype=torch.float64, device=device)
            for _, chunk in row_chunks(features):
                centred = chunk.to(device, torch.float64) - mean
                products += centred.T @ centred / count
        variances, vectors = torch.linalg.eigh(products)
        keep = variances > LEAST_VARIANCE * variances.max()
        variances, vectors = variances[keep], vectors[:, keep]
        if count < dims:
            vectors = centred.T @ vectors / (variances * count).sqrt()
        return cls(mean, vectors, variances)

    def rotate(self, features: Tensor | np.ndarray) -> Tensor:
        """Return the coordinates [N, R] of features [N, C], in double precision if they are, else single."""
        double = features.dtype in (torch.float64, np.float64)
        out = torch.empty(len(features), self.axes.shape[1],
                          dtype=torch.float64 if double else torch.float32, device=self.axes.device)
        for where, chunk in row_chunks(features):
            out[where] = ((chunk.to(self.axes) - self.mean) @ self.axes).to(out.dtype)
        return out


@dataclass(frozen=True)
class LinearClassifier:
    """Scores are features x weight + bias, fitted with regularisation ``l2``."""

    weight: Tensor                                                                          # [K, C]
    bias: Tensor                                                                            # [K]
    l2: float
    converged: bool

    def scores(self, features: Tensor | np.ndarray) -> np.ndarray:
        """Return float32 [N, K] for features [N, C]."""
        weight, device = self.weight.float(), self.weight.device
        return np.concatenate([
            (chunk.to(device, torch.float32) @ weight.T + self.bias.float()).cpu().numpy()
            for _, chunk in row_chunks(features)])


def regression_path(features: Tensor | np.ndarray, labels: Tensor | np.ndarray, num_classes: int,
                    l2: Sequence[float], *, device: str | torch.device = 'cpu',
                    tolerance: float = TOLERANCE, max_iterations: int = 1000) -> Iterator[LinearClassifier]:
    """Yield a linear classifier for each regularisation, the strongest first; a fit begins at the one before.

    For classes [N] in [0, num_classes) it minimises the mean cross-entropy + ``l2 / 2 * |W|^2``;
    scikit-learn's ``C`` is 1 / (l2 * N). For labels [N, K], 1 present, 0 absent, -1 where the image does not
    count, it is K binary regressions, each the mean over the images that count of
    ``log(1 + exp(-y s)) + l2 / 2 * |w_k|^2``; there ``C`` is 1 / (l2 * N_k). Biases are not penalised.
    ``features``, float [N, C], may be memory-mapped; for ``tolerance`` see :func:`minimise`.

    The search is in the principal axes, each scaled by its curvature, which saves most iterations. Neither
    centring (the bias takes it up) nor rotating features (``|W|`` stays) changes the objective. What is
    computed with the rotated features is in double precision.

    Raises:
        ValueError: If an argument is out of range, shapes disagree, a class of labels [N, K] has only
            positive or only negative images, or a feature is not finite.
    """
    if len(l2) == 0 or not all(value >= 0 for value in l2):
        raise InputError(f'l2 must be >= 0, and at least one number, got {list(l2)}')
    labels = labels.cpu() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
    if features.ndim != 2 or labels.shape[:1] != features.shape[:1] or len(features) == 0:
        raise InputError('features must be [N, C] and labels [N] or [N, K] with N >= 1, got '
                         f'{list(features.shape)} and {list(labels.shape)}')
    _check_labels(labels, num_classes)
    axes = PrincipalAxes.of(features, device)
    loss = (_CrossEntropy if labels.ndim == 1 else _BinaryLosses)(labels.to(device), num_classes)
    rotated = axes.rotate(features)                                                         # [N, R]
    solution = torch.zeros(num_classes, rotated.shape[1] + 1, dtype=torch.float64, device=device)
    for strength in sorted(l2, reverse=True):
        scale = torch.cat([(loss.curvature * axes.variances + strength).rsqrt(),
                           axes.variances.new_full((1,), loss.curvature ** -0.5)])

        def objective(point: Tensor, strength: float = strength, scale: Tensor = scale
                      ) -> tuple[float, Tensor]:
            weight = point * scale
            value, gradient = loss(rotated, weight)
            value += 0.5 * strength * weight[:, :-1].square().sum().item()
            gradient[:, :-1] += strength * weight[:, :-1]
            return value, gradient * scale

        point, converged = minimise(objective, solution / scale, tolerance, max_iterations)
        solution = point * scale
        weight = solution[:, :-1] @ axes.axes.T                                             # [K, C]
        yield LinearClassifier(weight, solution[:, -1] - weight @ axes.mean, strength, converged)


class _CrossEntropy:
    """Mean cross-entropy of linear scores, and its gradient with respect to [weight, bias]."""

    def __init__(self, labels: Tensor, num_classes: int) -> None:
        self.labels = labels
        self.curvature = (num_classes - 1) / num_classes ** 2               # that of equal probabilities

    def __call__(self, features: Tensor, weight: Tensor) -> tuple[float, Tensor]:
        """Return value and gradient [K, R + 1] for features [N, R] and weight [K, R + 1], float64."""
        value, gradient, curvature = 0.0, torch.zeros_like(weight), 0.0
        for where, chunk in row_chunks(features):
            # In single precision the line search fails near the end, for lack of digits.
            chunk = chunk.double()
            error, loss, spread = self.parts(F.linear(chunk, weight[:, :-1], weight[:, -1]), where)
            value += loss.sum().item()
            curvature += spread.sum().item()
            gradient[:, :-1] += error.T @ chunk
            gradient[:, -1] += error.sum(dim=0)
        # Classes that are certain have none; it must stay > 0 to scale by.
        self.curvature = max(curvature / len(weight), 1e-6)
        return value, gradient

    def parts(self, scores: Tensor, where: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Return the derivative with respect to scores, the losses, and p (1 - p); each divided by N."""
        labels, count = self.labels[where, None], len(self.labels)
        logs = scores.log_softmax(dim=1)
        p = logs.exp()
        error = p.scatter_add(1, labels, scores.new_full((1, 1), -1).expand(labels.shape))
        return error / count, -logs.gather(1, labels) / count, p * (1 - p) / count


class _BinaryLosses(_CrossEntropy):
    """Sum over classes of the mean logistic loss over the images that count for the class."""

    def __init__(self, labels: Tensor, num_classes: int) -> None:
        self.labels, self.counts = labels, (labels >= 0).sum(dim=0)
        self.curvature = 0.25

    def parts(self, scores: Tensor, where: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Return the derivative with respect to scores, the losses, and p (1 - p); each divided by N_k."""
        labels = self.labels[where]
        share = (labels >= 0).to(scores.dtype) / self.counts
        truth, p = labels.clamp_min(0).to(scores.dtype), scores.sigmoid()
        losses = F.binary_cross_entropy_with_logits(scores, truth, reduction='none')
        return (p - truth) * share, losses * share, p * (1 - p) * share


def _check_labels(labels: Tensor, num_classes: int) -> None:
    if labels.ndim == 1:
        if num_classes < 2 or len(labels) == 0 or labels.min() < 0 or labels.max() >= num_classes:
            span = f'{int(labels.min())} to {int(labels.max())}' if len(labels) else 'none'
            raise InputError(f'labels must be in [0, {num_classes}) with at least 2 classes, got {span}')
        return
    if labels.ndim != 2 or labels.shape[1] != num_classes or not ((labels >= -1) & (labels <= 1)).all():
        raise InputError(f'labels of several classes must be [N, {num_classes}] of -1, 0 and 1, got '
                         f'{list(labels.shape)}')
    if one_sided := [k for k in range(num_classes) if not {0, 1} <= set(labels[:, k].tolist())]:
        raise InputError('each class needs training images with it and without it; classes '
                         f'{one_sided} have not both')


def fit_logistic_regression(features: Tensor, labels: Tensor, num_classes: int, l2: float = 1e-4,
                            max_iterations: int = 1000) -> tuple[Tensor, Tensor]:
    """Return weight [K, C] and bias [K], in the features' precision, as of :func:`regression_path`."""
    classifier, = regression_path(features, labels, num_classes, [l2], device=features.device,
                                  tolerance=1e-10, max_iterations=max_iterations)
    return classifier.weight.to(features.dtype), classifier.bias.to(features.dtype)


def linear_accuracy(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
                    test_labels: Tensor, num_classes: int, l2: float = 1e-4) -> float:
    """Return the top-1 accuracy in percent, on test features, of a classifier fitted to training features.

    Features, float [N, C] and [M, C], are first standardised by the training features' mean and deviation.
    Labels are int64 [N] and [M]; for ``l2`` see :func:`regression_path`.
    """
    mean, std = train_features.mean(dim=0), train_features.std(dim=0).clamp_min(1e-6)
    weight, bias = fit_logistic_regression((train_features - mean) / std, train_labels, num_classes, l2)
    predicted = ((test_features - mean) / std @ weight.T + bias).argmax(dim=1)
    return 100.0 * (predicted == test_labels).float().mean().item()
