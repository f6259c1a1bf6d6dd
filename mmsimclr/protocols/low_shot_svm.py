"""Low-shot VOC07 SVM: linear SVMs on a few images of each class."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from joblib.externals.loky import get_reusable_executor
from numpy import ndarray

from mmsimclr import distributed
from mmsimclr.errors import InputError
from mmsimclr.evaluation.linear_svm import COSTS, MAX_ITERATIONS, check_costs, fit_svm
from mmsimclr.evaluation.metrics import average_precision
from mmsimclr.models import POOLED_FEATURES
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.svm import VOC07Features, run_in_parallel, write_csv
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class LowShotSVM(Protocol):
    """Classify images by one linear SVM for each class, fitted to k images of it and some of the rest.

    For each k, several times: k positive training images and k x ``negatives_per_positive`` negative ones
    are drawn for each class, an SVM is fitted for each cost, and the average precision (AP) on the test
    images is taken. Reported for each k is the mean over classes and samples with the cost for which it is
    largest: **the cost is chosen on the test images**, as in the original protocol. All costs and samples
    are written into ``low_shot_svm.csv``. A class without a positive or a negative training or test image is
    left out, and so is a k for which another class has too few images. The result says both.

    Args:
        k: Numbers of positive images, each >= 1.
        num_samples: Number of independent draws, >= 1.
        negatives_per_positive: Negative images for each positive one, >= 1; as many as there are other
            classes, in the original protocol.
        train, test, costs, ...: As of :class:`~mmsimclr.protocols.SVM`.

    Source:
        Goyal et al. 2019, section 6.2, and its code; MMSelfSup for the five layers of ResNet-50.
    """

    def __init__(self, train: dict, test: dict, k: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 96),
                 num_samples: int = 5, negatives_per_positive: int = 19, costs: Sequence[float] = COSTS,
                 stages: Sequence[str] = POOLED_FEATURES, resize_px: int | None = None,
                 crop_px: int | None = None, max_iterations: int = MAX_ITERATIONS,
                 num_processes: int | None = None) -> None:
        if not k or min(k) < 1 or min(num_samples, negatives_per_positive) < 1:
            raise InputError('k, num_samples and negatives_per_positive must be >= 1, got '
                             f'{k}, {num_samples} and {negatives_per_positive}')
        self.datasets = dict(train=train, test=test)
        self.k, self.num_samples = sorted(set(k)), num_samples
        self.negatives_per_positive = negatives_per_positive
        self.costs, self.stages = check_costs(costs), tuple(stages)
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)
        self.max_iterations, self.num_processes = max_iterations, num_processes

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, fit the SVMs, and return mean and deviation of the best layer's mean AP by k."""
        data = VOC07Features.extract(benchmark, self.datasets, self.stages, self.preparation, 1)
        too_large = self._too_large(data)
        ks = [k for k in self.k if k not in too_large]
        if not ks:
            raise InputError(f'no k can be evaluated: with k={self.k[0]}, {too_large[self.k[0]]}')
        try:
            outcomes = {stage: self._evaluate(stage, data, ks, benchmark.seed) for stage in self.stages}
        finally:
            get_reusable_executor().shutdown(wait=True)
        layers = {stage: maps for stage, (maps, _) in outcomes.items()}
        failed = sum(count for _, count in outcomes.values())
        best = max(layers, key=lambda stage: layers[stage].mean(axis=2).max(axis=1).mean())
        means, deviations = layers[best].mean(axis=2), layers[best].std(axis=2)              # [k, cost]
        chosen = means.argmax(axis=1)
        metrics = {f'map_k{k}_{suffix}': 100 * float(values[row, chosen[row]]) for row, k in enumerate(ks)
                   for suffix, values in (('percent', means), ('std_percent', deviations))}
        if failed:
            benchmark.logger.info(f'{failed} SVMs did not converge within {self.max_iterations} passes')
        predictions = None
        if distributed.rank() == 0:
            write_csv(benchmark.path_beside_result('low_shot_svm.csv'), self._table(layers, ks))
            features, cost = data.rows(best), self.costs[chosen[-1]]
            predictions = data.predictions(np.concatenate([
                low_shot_scores(*features, data.train_labels, [cost], self.negatives_per_positive,
                                benchmark.seed, self.max_iterations, ks[-1], 0, number)[0]
                for number in data.classes], axis=1))
        by_layer = {stage: (100 * maps.mean(axis=2).max(axis=1)).tolist() for stage, maps in layers.items()}
        return benchmark.result(
            'low-shot SVM', metrics, dict(train=len(data.train), test=len(data.test)),
            dict(best_layer=best, best_layer_chosen_on='test, by the mean over k', cost_chosen_on='test',
                 cost={str(k): self.costs[cost] for k, cost in zip(ks, chosen, strict=True)},
                 average_precision='area under the interpolated precision-recall curve',
                 std='over samples, population (divided by their number)',
                 map_percent_by_layer={stage: dict(zip(map(str, ks), values, strict=True))
                                       for stage, values in by_layer.items()},
                 k=ks, k_left_out={str(k): why for k, why in too_large.items()},
                 num_samples=self.num_samples, negatives_per_positive=self.negatives_per_positive,
                 costs=list(self.costs), classes_left_out=data.left_out, num_not_converged=failed,
                 predictions=f'sample 1 of k={ks[-1]}', **data.settings(self.max_iterations)),
            predictions)

    def _too_large(self, data: VOC07Features) -> dict[int, str]:
        """Return why a k cannot be had, by k."""
        reasons: dict[int, str] = {}
        for number in data.classes:
            positives, negatives = ((data.train_labels[:, number] == value).sum() for value in (1, 0))
            for k in self.k:
                others = k * self.negatives_per_positive
                if positives < k or negatives < others:
                    reasons.setdefault(k, f'{data.names[number]} has {positives} positive and {negatives} '
                                          f'negative training images; {k} and {others} are needed')
        return dict(sorted(reasons.items()))

    def _evaluate(self, stage: str, data: VOC07Features, ks: Sequence[int], seed: int) -> tuple[ndarray, int]:
        """Return mean AP over classes, [k, cost, sample], of a layer, and how many SVMs did not converge."""
        outcomes = run_in_parallel(
            _average_precisions, itertools.product(ks, range(self.num_samples), data.classes),
            (*data.rows(stage), data.train_labels, data.test_labels, self.costs, self.negatives_per_positive,
             seed, self.max_iterations), self.num_processes, 'samples')
        values = np.array([aps for aps, _ in outcomes])
        values = values.reshape(len(ks), self.num_samples, len(data.classes), len(self.costs)).mean(axis=2)
        return values.transpose(0, 2, 1), sum(failed for _, failed in outcomes)

    def _table(self, layers: Mapping[str, ndarray], ks: Sequence[int]) -> list[tuple]:
        rows = [('layer', 'k', 'cost', 'map_mean_percent', 'map_std_percent',
                 *(f'map_sample_{number + 1}_percent' for number in range(self.num_samples)))]
        for stage, maps in layers.items():
            for k, by_cost in zip(ks, 100 * maps, strict=True):
                rows += [(stage, k, cost, *(f'{value:.4f}' for value in (row.mean(), row.std(), *row)))
                         for cost, row in zip(self.costs, by_cost, strict=True)]
        return rows


def _average_precisions(train: ndarray, test: ndarray, train_labels: ndarray, test_labels: ndarray,
                        costs: Sequence[float], *settings: int) -> tuple[list[float], int]:
    """Return the AP for each cost, and how many SVMs did not converge; arguments as in low_shot_scores."""
    scores, failed = low_shot_scores(train, test, train_labels, costs, *settings)
    return [average_precision(test_labels[:, settings[-1]], column) for column in scores.T], failed


def low_shot_scores(train: ndarray, test: ndarray, train_labels: ndarray, costs: Sequence[float],
                    negatives_per_positive: int, seed: int, max_iterations: int, k: int, sample: int,
                    number: int) -> tuple[ndarray, int]:
    """Fit one sample of class ``number``; return scores [M, number of costs], and the SVMs not converged.

    Seed, k, sample and class decide the draw, which is therefore the same for every layer and every cost.
    """
    labels = train_labels[:, number]
    images = draw_images(labels, k, negatives_per_positive, (seed, k, sample, number))
    fits = [fit_svm(train[images], labels[images], cost, seed, max_iterations) for cost in costs]
    weights = np.concatenate([svm.coef_ for svm, _ in fits])
    biases = np.concatenate([svm.intercept_ for svm, _ in fits])
    return (test @ weights.T + biases).astype(np.float32), sum(not converged for _, converged in fits)


def draw_images(labels: ndarray, k: int, negatives_per_positive: int, seed: Sequence[int]) -> ndarray:
    """Return the numbers of k positive images and of k x ``negatives_per_positive`` others, ascending.

    Labels are of one class, int [N]: 1 present, 0 absent, -1 left out.
    """
    random = np.random.default_rng(seed)
    drawn = [random.choice(np.flatnonzero(labels == value), number, replace=False)
             for value, number in ((1, k), (0, k * negatives_per_positive))]
    return np.sort(np.concatenate(drawn))
