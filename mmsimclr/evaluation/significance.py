"""Significance of the difference between two sets of predictions: permutation and McNemar tests."""

import numpy as np
import torch
from numpy import ndarray

from mmsimclr.errors import InputError
from mmsimclr.evaluation.metrics import METRICS, right_answers

CHUNK_VALUES = 2 ** 24                                                      # numbers in memory at a time


def permutation_test(labels: ndarray, predicted_a: ndarray, predicted_b: ndarray, metric: str,
                     num_exchanges: int = 100_000, seed: int = 0, device: str = 'cpu') -> float:
    """Return the two-sided p-value of a difference in a metric between two models.

    The null hypothesis is that it does not matter which model is which. In each random exchange every
    image's predictions change sides with probability 1/2, all classes together. The p-value is
    (1 + number of differences at least as large) / (1 + number of exchanges).

    For accuracies an image counts by how many right answers it has of one model more than of the other. Of
    images that count the same, the sum is drawn from its exact, binomial distribution. The paper tests these
    only, the accuracy on VOC 2007 too: an exchange mixes two models' scores, which average precision
    compares. Here the test is offered for it too, on each model's ranks within the class.

    ``labels`` and predictions are as in :class:`~mmsimclr.protocols.Predictions`, ``metric`` is a key of
    :data:`~mmsimclr.evaluation.metrics.METRICS`, and ``num_exchanges`` is >= 1.

    Source:
        Chen et al. 2020, appendix B.8; Phipson & Smyth 2010 for counting the observed one.
    """
    if metric not in METRICS:
        raise InputError(f'metric must be one of {", ".join(METRICS)}, got {metric!r}')
    if num_exchanges < 1:
        raise InputError(f'num_exchanges must be >= 1, got {num_exchanges} (100000 is usual)')
    if metric in ('map_percent', '11_point_map_percent'):
        return _test_of_map(labels, predicted_a, predicted_b, metric, num_exchanges, seed, device)
    leads = _leads(labels, predicted_a, predicted_b, metric)
    weights, counts = np.unique(abs(leads[leads != 0]), return_counts=True)
    observed = abs(leads.sum())
    generator = np.random.default_rng(seed)
    extreme, step = 0, max(1, CHUNK_VALUES // max(1, len(counts)))
    for start in range(0, num_exchanges, step):
        number = min(step, num_exchanges - start)
        wins = generator.binomial(counts, 0.5, (number, len(counts)))
        # Sums that are equal may differ by rounding.
        extreme += np.count_nonzero(abs((2 * wins - counts) @ weights) >= observed * (1 - 1e-12))
    return (1 + extreme) / (1 + num_exchanges)


def _leads(labels: ndarray, predicted_a: ndarray, predicted_b: ndarray, metric: str) -> ndarray:
    """Return what each image adds to the first model's accuracy minus the second's, float [N]."""
    if labels.ndim == 2:
        right_a, right_b = (right_answers(labels, scores) for scores in (predicted_a, predicted_b))
        return (right_a.sum(axis=1) - right_b.sum(axis=1)) / (labels >= 0).sum()
    groups = labels if metric == 'mean_class_accuracy_percent' else np.zeros_like(labels)
    _, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    lead = (predicted_a == labels).astype(int) - (predicted_b == labels)
    return lead / (len(counts) * counts[places])


def mcnemar_test(labels: ndarray, predicted_a: ndarray, predicted_b: ndarray) -> float:
    """Return the p-value of the exact McNemar test of two accuracies, two-sided; classes, int64 [N] each.

    Source:
        McNemar 1947; the exact form is the sign test on the images that one model alone got right.
    """
    # Here, since it takes a second, and every training imports this package.
    from scipy.stats import binomtest

    right_a, right_b = predicted_a == labels, predicted_b == labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return 1.0 if only_a + only_b == 0 else float(binomtest(only_a, only_a + only_b).pvalue)


@torch.no_grad()
def _test_of_map(labels: ndarray, scores_a: ndarray, scores_b: ndarray, metric: str, num_exchanges: int,
                 seed: int, device: str) -> float:
    """As :func:`permutation_test`, for labels and scores [N, K]."""
    generator = torch.Generator(device).manual_seed(seed)
    classes = [_PooledRanking(labels[:, k], scores_a[:, k], scores_b[:, k], device,
                              eleven_points=metric == '11_point_map_percent') for k in range(labels.shape[1])]
    nobody = torch.zeros(1, len(labels), dtype=torch.bool, device=device)
    observed = abs(sum(ranking.differences(nobody) for ranking in classes).item())
    extreme, step = 0, max(1, CHUNK_VALUES // (2 * len(labels)))
    for start in range(0, num_exchanges, step):
        number = min(step, num_exchanges - start)
        exchanged = torch.rand(number, len(labels), generator=generator, device=device) < 0.5
        differences = sum(ranking.differences(exchanged) for ranking in classes)
        extreme += int((differences.abs() >= observed - 1e-6).sum())
    return (1 + extreme) / (1 + num_exchanges)


class _PooledRanking:
    """Two models' answers for one class in one order, best first, each marked with image and model."""

    def __init__(self, labels: ndarray, scores_a: ndarray, scores_b: ndarray, device: str,
                 eleven_points: bool) -> None:
        from scipy.stats import rankdata

        self.eleven_points = eleven_points
        counted = np.flatnonzero(labels >= 0)
        ranks = np.concatenate([rankdata(-scores[counted]) for scores in (scores_a, scores_b)])
        order = np.argsort(ranks, kind='stable')
        ends = np.append(np.flatnonzero(np.diff(ranks[order])), len(order) - 1)
        images = np.concatenate([counted, counted])[order]
        self.images, self.ends = torch.from_numpy(images).to(device), torch.from_numpy(ends).to(device)
        self.of_a = torch.from_numpy(order < len(counted)).to(device)
        self.positive = torch.from_numpy(labels[images] == 1).to(device)
        self.num_positive = int((labels == 1).sum())

    def differences(self, exchanged: torch.Tensor) -> torch.Tensor:
        """Return the first side's AP minus the second's, float [E], for exchanged images, bool [E, N]."""
        on_first = self.of_a ^ exchanged[:, self.images]
        return self._average_precision(on_first) - self._average_precision(~on_first)

    def _average_precision(self, kept: torch.Tensor) -> torch.Tensor:
        retrieved = kept.cumsum(dim=1, dtype=torch.int32)[:, self.ends]
        found = (kept & self.positive).cumsum(dim=1, dtype=torch.int32)[:, self.ends].contiguous()
        precision = found / retrieved.clamp_min(1)
        best = precision.flip(1).cummax(dim=1).values.flip(1)
        if not self.eleven_points:
            steps = found.diff(dim=1, prepend=torch.zeros_like(found[:, :1]))
            # In double precision: sums that are equal must not differ by their order.
            return (steps * best.double()).sum(dim=1) / self.num_positive
        recalls = torch.arange(11, device=kept.device, dtype=torch.int32) * self.num_positive
        first = torch.searchsorted(10 * found, recalls.expand(len(kept), 11).contiguous())
        return best.gather(1, first).mean(dim=1)
