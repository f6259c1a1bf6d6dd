"""VOC07 SVM protocols: linear SVMs on the features of five layers, on all images or a few of each class."""

import itertools
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from numpy import ndarray
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold

from mmsimclr import distributed
from mmsimclr.errors import InputError
from mmsimclr.evaluation import linear_svm
from mmsimclr.evaluation.metrics import average_precision
from mmsimclr.features import FeatureFiles
from mmsimclr.files import ProgressLine
from mmsimclr.models import POOLED_FEATURES
from mmsimclr.protocols.base import Benchmark, Protocol, class_names
from mmsimclr.protocols.duplicates import look_for_duplicates
from mmsimclr.protocols.result import Predictions, Result, feature_names, write_csv
from mmsimclr.registry import PROTOCOLS


@dataclass(frozen=True)
class VOC07Features:
    """Features and labels of N training and M test images of K classes."""

    train: FeatureFiles
    test: FeatureFiles
    train_labels: ndarray                       # int [N, K]: 1 present, 0 absent, -1 left out of the class
    test_labels: ndarray                        # int [M, K]
    names: Sequence[str]
    left_out: Mapping[str, str]                 # by name, why a class cannot be evaluated

    @property
    def classes(self) -> list[int]:
        """Numbers of the classes that can be evaluated."""
        return [number for number, name in enumerate(self.names) if name not in self.left_out]

    def rows(self, stage: str) -> tuple[ndarray, ndarray]:
        """Return the scaled features of one layer, of training and of test images."""
        return linear_svm.svm_features(self.train.stages[stage], self.test.stages[stage])

    def predictions(self, scores: ndarray) -> Predictions:
        """Return scores [M, len(classes)] as predictions; no image counts for a class that was left out."""
        shape = self.test_labels.shape
        counted, all_scores = np.full(shape, -1), np.zeros(shape, np.float32)
        counted[:, self.classes] = self.test_labels[:, self.classes]
        all_scores[:, self.classes] = scores
        return Predictions(counted, all_scores, feature_names(self.test))


class LinearSVMs(Protocol):
    """Base of protocols that fit one linear SVM for each class, on each of several layers.

    Args:
        train, test: Configs of images, of one class each or of several, to learn from and to classify.
        costs: Costs to choose from, each > 0; of equally good ones the first is taken.
        stages: Layers, out of ``'stem'``, ``'layer1'`` ... ``'layer4'``.
        resize_px, crop_px: As in :class:`~mmsimclr.protocols.KNN`, but squashed into the square.
        max_iterations: Bound on the passes of an SVM.
        num_processes: Processes that fit SVMs; by default one for each core.
    """

    lists_duplicates = True

    def __init__(self, train: dict, test: dict, costs: Sequence[float] = linear_svm.COSTS,
                 stages: Sequence[str] = POOLED_FEATURES, resize_px: int | None = None,
                 crop_px: int | None = None, max_iterations: int = linear_svm.MAX_ITERATIONS,
                 num_processes: int | None = None) -> None:
        if not costs or len(set(costs)) < len(costs) or not all(cost > 0 for cost in costs):
            raise InputError(f'costs must be numbers > 0, each once, got {costs!r} (usual: 1, 10, 100 and '
                             '0.5^4 to 0.5^19)')
        self.datasets, self.stages = dict(train=train, test=test), tuple(stages)
        self.costs = tuple(map(float, costs))
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)
        self.max_iterations, self.num_processes = max_iterations, num_processes

    def extract(self, benchmark: Benchmark, min_images: int, ignored_as_negatives: bool = False
                ) -> VOC07Features:
        """Extract features of ``train`` and ``test``: the whole image in a square, a grid of windows."""
        train, test = (
            benchmark.features(dataset, self.stages, part=part, **self.preparation, interpolation='bilinear',
                               squash=True, pooling='grid') for part, dataset in self.datasets.items())
        look_for_duplicates(benchmark, train, test)
        names = class_names(train, test)
        train_labels = multi_labels(train.labels, len(names), 'training')
        test_labels = multi_labels(test.labels, len(names), 'test')
        if ignored_as_negatives:
            train_labels = np.where(train_labels == -1, 0, train_labels)
        return VOC07Features(train, test, train_labels, test_labels, names,
                             unusable_classes(train_labels, test_labels, names, min_images))

    @abstractmethod
    def _evaluate(self, stage: str, data: VOC07Features, *settings: Any) -> tuple[Any, int]:
        """Return what one layer gives, and how many SVMs did not converge."""

    def layers(self, benchmark: Benchmark, data: VOC07Features, *settings: Any) -> tuple[dict[str, Any], int]:
        """Return what each layer gives, and how many SVMs of all did not converge."""
        try:
            found = {stage: self._evaluate(stage, data, *settings, benchmark.seed) for stage in self.stages}
        finally:
            get_reusable_executor().shutdown(wait=True)
        failed = sum(count for _, count in found.values())
        if failed:
            benchmark.logger.info(f'{failed} SVMs did not converge within {self.max_iterations} passes')
        return {stage: layer for stage, (layer, _) in found.items()}, failed

    def settings(self, data: VOC07Features, failed: int) -> dict[str, Any]:
        """Return the settings of a result that all protocols of SVMs have."""
        svm = linear_svm.SVM_SETTINGS
        weights = {str(sign): weight for sign, weight in svm['class_weight'].items()}
        return dict(average_precision='area under the interpolated precision-recall curve',
                    costs=list(self.costs), classes_left_out=data.left_out, num_not_converged=failed,
                    svm={**svm, 'class_weight': weights, 'max_iter': self.max_iterations},
                    feature_scale='1 / (L2 norm + 1e-5)', pooling='grid of windows',
                    dimensions=data.train.manifest['stages'], **data.train.manifest['preparation'])


@PROTOCOLS.register_module()
class SVM(LinearSVMs):
    """Classify images by one linear SVM for each class, on each of five layers.

    For each layer and class, the cost with the largest mean average precision (AP) of a cross-validation on
    the training images is used to fit an SVM to all of them, whose AP on the test images is the result. All
    costs and their values are written into ``svm_costs.csv``. A class is left out, and the result says so, if
    it has fewer positive or negative training images than folds, or no positive or no negative test image.

    Args:
        num_folds: Folds of the cross-validation, >= 2.
        ignored_as_negatives: Whether training images that are marked as ignored for a class (label -1) are
            its negatives, as in the original code, or left out. Ignored test images never count.
        train, test, costs, ...: As of :class:`LinearSVMs`.

    Source:
        Goyal et al. 2019, section 6.1; MMSelfSup for the five layers of ResNet-50.
    """

    def __init__(self, train: dict, test: dict, num_folds: int = 3, ignored_as_negatives: bool = False,
                 **arguments) -> None:
        if num_folds < 2:
            raise InputError(f'num_folds must be >= 2, got {num_folds} (3 is usual)')
        super().__init__(train, test, **arguments)
        self.num_folds, self.ignored_as_negatives = num_folds, ignored_as_negatives

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, fit the SVMs, and return the mean AP of each layer, in percent."""
        data = self.extract(benchmark, self.num_folds, self.ignored_as_negatives)
        layers, failed = self.layers(benchmark, data)
        maps = {stage: 100 * float(np.mean(layer['ap'])) for stage, layer in layers.items()}
        best = max(maps, key=maps.get)
        names = [data.names[number] for number in data.classes]
        if distributed.rank() == 0:
            write_csv(benchmark.path_beside_result('svm_costs.csv'), self._table(layers, names))
        return benchmark.result(
            'SVM',
            {'map_percent': maps[best], **{f'map_{stage}_percent': value for stage, value in maps.items()}},
            dict(train=len(data.train), test=len(data.test)),
            dict(best_layer=best, best_layer_chosen_on='test',
                 ap_percent=dict(zip(names, (100 * layers[best]['ap']).tolist(), strict=True)),
                 cost=dict(zip(names, (self.costs[cost] for cost in layers[best]['chosen']), strict=True)),
                 num_folds=self.num_folds, cost_chosen_on='folds of train',
                 ignored_as_negatives=self.ignored_as_negatives, **self.settings(data, failed)),
            data.predictions(layers[best]['scores']))

    def _evaluate(self, stage: str, data: VOC07Features, seed: int) -> tuple[dict[str, ndarray], int]:
        """Return arrays of one layer with a row for each of the classes, and the SVMs not converged."""
        train, test = data.rows(stage)
        trials = run_in_parallel(
            _cross_validate, itertools.product(data.classes, self.costs),
            (train, data.train_labels, self.num_folds, seed, self.max_iterations), self.num_processes,
            'cross-validations')
        validated = np.array([ap for ap, _ in trials]).reshape(len(data.classes), len(self.costs))
        chosen = validated.argmax(axis=1)                                      # the first of equals
        fitted = run_in_parallel(
            _scores, zip(data.classes, (self.costs[cost] for cost in chosen), strict=True),
            (train, data.train_labels, test, seed, self.max_iterations), self.num_processes)
        scores = np.stack([scores for scores, _ in fitted], axis=1)
        ap = np.array([average_precision(data.test_labels[:, number], column)
                       for number, column in zip(data.classes, scores.T, strict=True)])
        failed = sum(count for _, count in trials) + sum(not converged for _, converged in fitted)
        return dict(validated=validated, chosen=chosen, ap=ap, scores=scores), failed

    def _table(self, layers: Mapping[str, Mapping], names: Sequence[str]) -> list[tuple]:
        rows = [('layer', 'class', 'cost', 'cross_validated_ap_percent', 'chosen', 'test_ap_percent')]
        for stage, layer in layers.items():
            for row, name in enumerate(names):
                for column, cost in enumerate(self.costs):
                    chosen = column == layer['chosen'][row]
                    rows.append((stage, name, cost, f'{100 * layer["validated"][row, column]:.4f}',
                                 int(chosen), f'{100 * layer["ap"][row]:.4f}' if chosen else ''))
        return rows


def _cross_validate(features: ndarray, labels: ndarray, num_folds: int, seed: int, max_iterations: int,
                    number: int, cost: float) -> tuple[float, int]:
    """Return the mean AP of the folds, and how many SVMs did not converge."""
    # As in the original protocol: stratified in the order of the images, by scikit-learn's AP, which does not
    # interpolate.
    truth = labels[:, number]
    counts = np.flatnonzero(truth >= 0)
    values, failed = [], 0
    for fitted, held_out in StratifiedKFold(num_folds).split(counts, truth[counts]):
        fitted, held_out = counts[fitted], counts[held_out]
        svm, converged = linear_svm.fit_svm(features[fitted], truth[fitted], cost, seed, max_iterations)
        values.append(average_precision_score(truth[held_out], svm.decision_function(features[held_out])))
        failed += not converged
    return float(np.mean(values)), failed


def _scores(train: ndarray, labels: ndarray, test: ndarray, seed: int, max_iterations: int,
            number: int, cost: float) -> tuple[ndarray, bool]:
    """Return the scores of the test images, float32 [M], and whether the SVM converged."""
    svm, converged = linear_svm.fit_svm(train, labels[:, number], cost, seed, max_iterations)
    return svm.decision_function(test).astype(np.float32), converged


def multi_labels(labels: ndarray | None, num_classes: int, part: str) -> ndarray:
    """Return labels of one class an image, [N], or of several, as int64 [N, K]: 1, 0, or -1 (left out)."""
    if labels is None:
        raise InputError(f'the {part} images have no labels; use a dataset that has')
    labels = np.asarray(labels)
    if labels.ndim == 1 and labels.min() >= 0 and labels.max() < num_classes:
        return (labels[:, None] == np.arange(num_classes)).astype(np.int64)
    if labels.shape[1:] != (num_classes,) or not np.isin(labels, (-1, 0, 1)).all():
        raise InputError(f'labels of the {part} images must be [N] in [0, {num_classes}), or '
                         f'[N, {num_classes}] of 1, 0 and -1, got shape {list(labels.shape)} with '
                         f'{np.unique(labels)[:6].tolist()}')
    return labels


def shortage(labels: ndarray, part: str, positives: int, negatives: int) -> str | None:
    """Return how many images of a class there are, labels [N], where these are fewer than are needed."""
    found = [np.count_nonzero(labels == value) for value in (1, 0)]
    if found[0] >= positives and found[1] >= negatives:
        return None
    return (f'{found[0]} positive and {found[1]} negative {part} images; {positives} and {negatives} are '
            'needed')


def unusable_classes(train: ndarray, test: ndarray, names: Sequence[str], min_images: int) -> dict[str, str]:
    """Return why classes cannot be evaluated, by name, given labels [N, K] and [M, K]; refuse if none can.

    A class needs ``min_images`` positive and as many negative training images, and one of each to test.
    """
    found = {name: shortage(own, 'training', min_images, min_images) or shortage(tested, 'test', 1, 1)
             for name, own, tested in zip(names, train.T, test.T, strict=True)}
    reasons = {name: reason for name, reason in found.items() if reason}
    if len(reasons) == len(names):
        raise InputError('no class can be evaluated: ' + '; '.join(
            f'{name}: {reason}' for name, reason in list(reasons.items())[:3]))
    return reasons


def _end_with(parent: int) -> None:
    """Have this process end when its parent has, also where that was killed and could tell nobody."""
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


def run_in_parallel(function: Callable, tasks: Iterable[tuple], shared: tuple,
                    num_processes: int | None = None, unit: str = 'SVMs') -> list[Any]:
    """Return ``[function(*shared, *task) for task in tasks]``, computed by several processes on each rank.

    Every rank gets all results. Large arrays among ``shared`` are memory-mapped. ``num_processes`` is by
    default one for each core of this machine; ``unit`` names a task on the line that shows progress.
    """
    # Not threads: liblinear has one random state for all, and what they drew would depend on their timing.
    tasks = list(tasks)
    rank, ranks = distributed.rank(), distributed.world_size()
    own = tasks[rank::ranks]
    if num_processes is None:
        num_processes = max(1, joblib.cpu_count() // int(os.environ.get('LOCAL_WORLD_SIZE', ranks)))
    progress = ProgressLine(unit=unit) if rank == 0 and own else lambda done, total: None
    progress(0, len(own))
    results = []
    calls = (joblib.delayed(function)(*shared, *task) for task in own)
    pool = joblib.Parallel(num_processes, return_as='generator', initializer=_end_with,
                           initargs=(os.getpid(),))
    for result in pool(calls):
        results.append(result)
        progress(len(results), len(own))
    gathered: list[Any] = [None] * len(tasks)
    for number, part in enumerate(distributed.from_every_rank(results)):
        gathered[number::ranks] = part
    return gathered


@PROTOCOLS.register_module()
class LowShotSVM(LinearSVMs):
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
        train, test, costs, ...: As of :class:`LinearSVMs`.

    Source:
        Goyal et al. 2019, section 6.2, and its code; MMSelfSup for the five layers of ResNet-50.
    """

    def __init__(self, train: dict, test: dict, k: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 96),
                 num_samples: int = 5, negatives_per_positive: int = 19, **arguments) -> None:
        if not k or min(k) < 1 or min(num_samples, negatives_per_positive) < 1:
            raise InputError('k, num_samples and negatives_per_positive must be >= 1, got '
                             f'{k}, {num_samples} and {negatives_per_positive}')
        super().__init__(train, test, **arguments)
        self.k, self.num_samples = sorted(set(k)), num_samples
        self.negatives_per_positive = negatives_per_positive

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, fit the SVMs, and return mean and deviation of the best layer's mean AP by k."""
        data = self.extract(benchmark, min_images=1)
        too_large = self._too_large(data)
        ks = [k for k in self.k if k not in too_large]
        if not ks:
            raise InputError(f'no k can be evaluated: with k={self.k[0]}, {too_large[self.k[0]]}')
        layers, failed = self.layers(benchmark, data, ks)
        best = max(layers, key=lambda stage: layers[stage].mean(axis=2).max(axis=1).mean())
        means, deviations = layers[best].mean(axis=2), layers[best].std(axis=2)              # [k, cost]
        chosen = means.argmax(axis=1)
        metrics = {f'map_k{k}_{suffix}': 100 * float(values[row, chosen[row]]) for row, k in enumerate(ks)
                   for suffix, values in (('percent', means), ('std_percent', deviations))}
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
                 std='over samples, population (divided by their number)',
                 map_percent_by_layer={stage: dict(zip(map(str, ks), values, strict=True))
                                       for stage, values in by_layer.items()},
                 k=ks, k_left_out={str(k): why for k, why in too_large.items()},
                 num_samples=self.num_samples, negatives_per_positive=self.negatives_per_positive,
                 predictions=f'sample 1 of k={ks[-1]}', **self.settings(data, failed)),
            predictions)

    def _too_large(self, data: VOC07Features) -> dict[int, str]:
        """Return why a k cannot be had, by k."""
        reasons: dict[int, str] = {}
        for k, number in itertools.product(self.k, data.classes):
            if lack := shortage(data.train_labels[:, number], 'training', k, k * self.negatives_per_positive):
                reasons.setdefault(k, f'{data.names[number]} has {lack}')
        return reasons

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
    fits = [linear_svm.fit_svm(train[images], labels[images], cost, seed, max_iterations) for cost in costs]
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
