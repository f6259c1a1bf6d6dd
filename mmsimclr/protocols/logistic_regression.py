"""Linear probe: L2-regularised multinomial logistic regression on frozen features, by L-BFGS."""

import torch
import torch.nn.functional as F
from torch import Tensor


def fit_logistic_regression(features: Tensor, labels: Tensor, num_classes: int, l2: float = 1e-4,
                            max_iterations: int = 200) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier.

    Minimises mean cross-entropy + l2 / 2 * |W|^2; the bias is not penalised.

    Args:
        features: Float [N, C].
        labels: int64 [N], in [0, num_classes).
        num_classes: Number of classes K, >= 2.
        l2: Strength of the penalty, >= 0. scikit-learn's ``C`` is 1 / (l2 * N).
        max_iterations: Bound on L-BFGS iterations.

    Returns:
        Weight [K, C] and bias [K].

    Raises:
        ValueError: If shapes disagree, a label is out of range, or a feature is not finite.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(features) == 0:
        raise ValueError('features must be [N, C] and labels [N] with N >= 1, got '
                         f'{list(features.shape)} and {list(labels.shape)}')
    if num_classes < 2 or labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f'labels must be in [0, {num_classes}) with at least 2 classes, got '
                         f'{int(labels.min())} to {int(labels.max())}')
    if not torch.isfinite(features).all():
        raise ValueError('features are not finite: the encoder diverged or its weights are damaged')
    if not l2 >= 0:
        raise ValueError(f'l2 must be >= 0, got {l2}')
    weight = features.new_zeros(num_classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=max_iterations, history_size=10,
                                  tolerance_grad=1e-6, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + 0.5 * l2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def linear_accuracy(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
                    test_labels: Tensor, num_classes: int, l2: float = 1e-4) -> float:
    """Return the top-1 accuracy in percent, on the test features, of a probe fitted to the train features.

    Features are standardised with the train features' mean and deviation first.

    Args:
        train_features: Float [N, C].
        train_labels: int64 [N].
        test_features: Float [M, C].
        test_labels: int64 [M].
        num_classes: Number of classes.
        l2: Strength of the penalty; see :func:`fit_logistic_regression`.
    """
    mean, std = train_features.mean(dim=0), train_features.std(dim=0).clamp_min(1e-6)
    weight, bias = fit_logistic_regression((train_features - mean) / std, train_labels, num_classes, l2)
    predicted = ((test_features - mean) / std @ weight.T + bias).argmax(dim=1)
    return 100.0 * (predicted == test_labels).float().mean().item()
