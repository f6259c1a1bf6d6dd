"""VOC07 SVM protocol: linear SVMs on the features of five layers, the cost chosen by cross-validation."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from mmengine.dist import all_gather_object
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold

from mmsimclr import distributed
from mmsimclr.errors import InputError
from mmsimclr.evaluation.linear_svm import (
    COSTS,
    MAX_ITERATIONS,
    SVM_SETTINGS,
    check_costs,
    fit_svm,
    svm_features,
)
from mmsimclr.evaluation.metrics import average_precision, require_same_classes
from mmsimclr.features import FeatureFiles
from mmsimclr.files import ProgressLine, atomic_writer
from mmsimclr.models.heads.feature_pooling import POOLED_FEATURES
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Predictions, Result, feature_names
from mmsimclr.registry import PROTOCOLS


def multi_labels(labels: np.ndarray | None, num_classes: int, part: str) -> np.ndarray:
    """Return labels of several classes an image, int64 [N, K].

    Args:
        labels: int [N, K]: 1 present, 0 absent, -1 left out of the class; or one class an image, [N].
        num_classes: Number of classes K.
        part: Which images, for the message of an error.

    Raises:
        ValueError: If there are no labels, or they are something else.
    """
    if labels is None:
        raise InputError(f'the {part} images have no labels; use a dataset that has')
    labels = np.asarray(labels)
    if labels.ndim == 1:
        if labels.min() < 0 or labels.max() >= num_classes:
            raise InputError(f'labels of the {part} images must be in [0, {num_classes}), got '
                             f'{labels.min()} to {labels.max()}')
        return (labels[:, None] == np.arange(num_classes)).astype(np.int64)
    if labels.ndim != 2 or labels.shape[1] != num_classes or not np.isin(labels, (-1, 0, 1)).all():
        raise InputError(f'labels of the {part} images must be [N], or [N, {num_classes}] of 1, 0 and -1, '
                         f'got shape {list(labels.shape)} with {np.unique(labels)[:6].tolist()}')
    return labels


def class_names(train: FeatureFiles, test: FeatureFiles) -> list[str]:
    """Return the names of the classes of two sets of features; their numbers where they have no names.

    Raises:
        ValueError: If the two are of different classes.
    """
    names, others = (list(part.manifest['images']['classes']) for part in (train, test))
    require_same_classes(names, others)
    if names:
        return names
    counts = [0 if part.labels is None else part.labels.shape[1] if part.labels.ndim == 2
              else int(part.labels.max()) + 1 for part in (train, test)]
    return [str(number) for number in range(max(counts))]


def unusable_classes(train: np.ndarray, test: np.ndarray, names: Sequence[str], minimum: int
                     ) -> dict[str, str]:
    """Return why some classes cannot be evaluated, by name.

    Args:
        train: Labels, int [N, K].
        test: Labels, int [M, K].
        names: Names of the K classes.
        minimum: Positive, and negative, training images needed of a class.

    Raises:
        ValueError: If no class can be evaluated.
    """
    reasons = {}
    for name, train_labels, test_labels in zip(names, train.T, test.T, strict=True):
        for labels, part, needed in ((train_labels, 'training', minimum), (test_labels, 'test', 1)):
            positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
            if min(positives, negatives) < needed:
                reasons.setdefault(name, f'{positives} positive and {negatives} negative {part} images; at '
                                         f'least {needed} of each are needed')
    if len(reasons) == len(names):
        raise InputError('no class can be evaluated: ' + '; '.join(
            f'{name}: {reason}' for name, reason in list(reasons.items())[:3]))
    return reasons


def class_predictions(test: FeatureFiles, labels: np.ndarray, classes: list[int], scores: np.ndarray
                      ) -> Predictions:
    """Return scores [M, len(classes)] as predictions; no image counts for a class that was left out."""
    counted, all_scores = np.full(labels.shape, -1), np.zeros(labels.shape, np.float32)
    counted[:, classes], all_scores[:, classes] = labels[:, classes], scores
    return Predictions(counted, all_scores, feature_names(test))


@contextmanager
def worker_processes() -> Iterator[None]:
    """Keep the processes of :func:`run_in_parallel` from one call to the next, and end them in the end."""
    try:
        yield
    finally:
        get_reusable_executor().shutdown(wait=True)


def run_in_parallel(function: Callable, tasks: Iterable[tuple], shared: tuple,
                    num_processes: int | None = None, unit: str = 'SVMs') -> list[Any]:
    """Return ``[function(*shared, *task) for task in tasks]``, computed by several processes.

    The ranks of a process group share the tasks, and every rank gets all results. Processes, not threads:
    liblinear has one random state for all threads, and what they drew would depend on their timing.

    Args:
        function: A function of a module.
        tasks: Its last arguments.
        shared: Its first arguments; large arrays among them are memory-mapped, not copied.
        num_processes: Processes of each rank; by default one for each core of this machine.
        unit: What a task is, for the line that shows progress.
    """
    tasks = list(tasks)
    rank, ranks = distributed.rank(), distributed.world_size()
    own = tasks[rank::ranks]
    if num_processes is None:
        num_processes = max(1, joblib.cpu_count() // int(os.environ.get('LOCAL_WORLD_SIZE', ranks)))
    progress = ProgressLine(unit=unit)
    results = []
    computed = joblib.Parallel(num_processes, return_as='generator')(
        joblib.delayed(function)(*shared, *task) for task in own)
    for result in computed:
        if rank == 0:
            progress(len(results), len(own))
        results.append(result)
    if rank == 0 and own:
        progress(len(own), len(own))
    gathered: list[Any] = [None] * len(tasks)
    for number, part in enumerate(all_gather_object(results)):
        gathered[number::ranks] = part
    return gathered


def voc07_preparation(resize_px: int | None, crop_px: int | None) -> dict[str, Any]:
    """Return how images are prepared and maps pooled: the whole image in a square, a grid of windows."""
    return dict(resize_px=resize_px, crop_px=crop_px, interpolation='bilinear', squash=True, pooling='grid')


def svm_settings(max_iterations: int, features: FeatureFiles) -> dict[str, Any]:
    """Return what decides an SVM protocol's values besides its own arguments."""
    svm = {**SVM_SETTINGS, 'class_weight': {str(sign): weight for sign, weight in
                                            SVM_SETTINGS['class_weight'].items()}}
    manifest = features.manifest
    return dict(svm=dict(**svm, max_iter=max_iterations), feature_scale='1 / (L2 norm + 1e-5)',
                pooling='grid of windows', dimensions=manifest['stages'], **manifest['preparation'])


def write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    with atomic_writer(path) as file:
        file.write(text.getvalue().encode())


TABLE = 'svm_costs.csv'


@PROTOCOLS.register_module()
class SVM(Protocol):
    """Classify images by one linear SVM for each class, on each of five layers.

    For each layer and class, the cost with the largest mean average precision of a cross-validation on the
    training images is used to fit an SVM to all of them, and its average precision (AP) on the test images
    is taken. All costs and their values are written into ``svm_costs.csv``.

    A class is left out, and the result says so, if it has fewer positive or negative training images than
    there are folds, or no positive or no negative test image.

    Args:
        train: Config of the labelled images, of one class each or of several; its pipeline is not used.
        test: Config of the images to classify.
        costs: Costs to choose from, each > 0; of equally good ones the first is taken.
        stages: Layers, out of ``'stem'``, ``'layer1'`` ... ``'layer4'``.
        num_folds: Folds of the cross-validation, >= 2.
        ignored_as_negatives: Whether training images that are marked as ignored for a class (label -1)
            are negatives of it, as in the original code, rather than left out. Ignored test images never
            count.
        resize_px: Short side of the images, in pixels; by default what the encoder expects.
        crop_px: Side of the square that they are then squashed into.
        max_iterations: Bound on the passes of an SVM.
        num_processes: Processes that fit SVMs; by default one for each core.

    Raises:
        ValueError: If an argument is out of range.

    Source:
        Goyal et al. 2019, "Scaling and Benchmarking Self-Supervised Visual Representation Learning",
        section 6.1; MMSelfSup for the five layers of ResNet-50.
    """

    def __init__(self, train: dict, test: dict, costs: Sequence[float] = COSTS,
                 stages: Sequence[str] = POOLED_FEATURES, num_folds: int = 3,
                 ignored_as_negatives: bool = False, resize_px: int | None = None,
                 crop_px: int | None = None, max_iterations: int = MAX_ITERATIONS,
                 num_processes: int | None = None) -> None:
        if num_folds < 2:
            raise InputError(f'num_folds must be >= 2, got {num_folds} (3 is usual)')
        self.datasets = dict(train=train, test=test)
        self.costs, self.stages, self.num_folds = check_costs(costs), tuple(stages), num_folds
        self.ignored_as_negatives = ignored_as_negatives
        self.preparation = voc07_preparation(resize_px, crop_px)
        self.max_iterations, self.num_processes = max_iterations, num_processes

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features, fit the SVMs, and return the mean AP of each layer, in percent."""
        train, test = (benchmark.features(dataset, self.stages, **self.preparation)
                       for dataset in self.datasets.values())
        names = class_names(train, test)
        train_labels = multi_labels(train.labels, len(names), 'training')
        test_labels = multi_labels(test.labels, len(names), 'test')
        if self.ignored_as_negatives:
            train_labels = np.where(train_labels == -1, 0, train_labels)
        left_out = unusable_classes(train_labels, test_labels, names, self.num_folds)
        classes = [number for number, name in enumerate(names) if name not in left_out]
        with worker_processes():
            layers = {stage: self._evaluate(train.stages[stage], test.stages[stage], train_labels,
                                            test_labels, classes, benchmark) for stage in self.stages}
        maps = {stage: 100 * float(np.mean(layer['ap'])) for stage, layer in layers.items()}
        best = max(maps, key=maps.__getitem__)
        if distributed.rank() == 0:
            self._write_table(layers, [names[number] for number in classes], benchmark)
        failed = sum(layer['num_not_converged'] for layer in layers.values())
        if failed:
            benchmark.logger.info(f'{failed} SVMs did not converge within {self.max_iterations} passes')
        by_class = {names[number]: (100 * float(ap), self.costs[cost]) for number, ap, cost in
                    zip(classes, layers[best]['ap'], layers[best]['chosen'], strict=True)}
        return benchmark.result(
            'SVM',
            {'map_percent': maps[best], **{f'map_{stage}_percent': value for stage, value in maps.items()}},
            dict(train=len(train), test=len(test)),
            dict(best_layer=best, best_layer_chosen_on='test',
                 average_precision='area under the interpolated precision-recall curve',
                 ap_percent={name: ap for name, (ap, _) in by_class.items()},
                 cost={name: cost for name, (_, cost) in by_class.items()},
                 costs=list(self.costs), num_folds=self.num_folds, cost_chosen_on='folds of train',
                 classes_left_out=left_out, ignored_as_negatives=self.ignored_as_negatives,
                 num_not_converged=failed, **svm_settings(self.max_iterations, train)),
            class_predictions(test, test_labels, classes, layers[best]['scores']))

    def _evaluate(self, train: np.ndarray, test: np.ndarray, train_labels: np.ndarray,
                  test_labels: np.ndarray, classes: list[int], benchmark: Benchmark) -> dict[str, Any]:
        """Return what came out for one layer, arrays with a row for each of ``classes``."""
        train_rows, test_rows = svm_features(train, test)
        seed, limit = benchmark.seed, self.max_iterations
        trials = run_in_parallel(
            _cross_validate, [(number, cost, self.num_folds, seed, limit) for number in classes
                              for cost in self.costs], (train_rows, train_labels), self.num_processes,
            'cross-validations')
        validated = np.array([ap for ap, _ in trials]).reshape(len(classes), len(self.costs))
        chosen = validated.argmax(axis=1)                                      # the first of equals
        fitted = run_in_parallel(
            _scores, [(number, self.costs[cost], seed, limit)
                      for number, cost in zip(classes, chosen, strict=True)],
            (train_rows, train_labels, test_rows), self.num_processes)
        scores = np.stack([scores for scores, _ in fitted], axis=1)
        ap = [average_precision(test_labels[:, number], column)
              for number, column in zip(classes, scores.T, strict=True)]
        failed = sum(count for _, count in trials) + sum(not converged for _, converged in fitted)
        return dict(validated=validated, chosen=chosen, ap=np.array(ap), scores=scores,
                    num_not_converged=failed)

    def _write_table(self, layers: dict[str, dict], names: list[str], benchmark: Benchmark) -> None:
        rows: list[Sequence[Any]] = [('layer', 'class', 'cost', 'cross_validated_ap_percent', 'chosen',
                                      'test_ap_percent')]
        for stage, layer in layers.items():
            for row, name in enumerate(names):
                for column, cost in enumerate(self.costs):
                    chosen = bool(column == layer['chosen'][row])
                    validated = 100 * layer['validated'][row, column]
                    rows.append((stage, name, cost, f'{validated:.4f}', int(chosen),
                                 f'{100 * layer["ap"][row]:.4f}' if chosen else ''))
        write_csv(benchmark.work_dir / TABLE, rows)


def _cross_validate(features: np.ndarray, labels: np.ndarray, number: int, cost: float, num_folds: int,
                    seed: int, max_iterations: int) -> tuple[float, int]:
    """Return the mean AP of the folds, and how many SVMs did not converge.

    Folds are scikit-learn's for a classifier, stratified in the order of the images, and AP is its own,
    which does not interpolate: this is what the original protocol chooses by.
    """
    truth = labels[:, number]
    counts = np.flatnonzero(truth >= 0)
    values, failed = [], 0
    for fitted, held_out in StratifiedKFold(num_folds).split(counts, truth[counts]):
        fitted, held_out = counts[fitted], counts[held_out]
        svm, converged = fit_svm(features[fitted], truth[fitted], cost, seed, max_iterations)
        values.append(average_precision_score(truth[held_out], svm.decision_function(features[held_out])))
        failed += not converged
    return float(np.mean(values)), failed


def _scores(train: np.ndarray, labels: np.ndarray, test: np.ndarray, number: int, cost: float, seed: int,
            max_iterations: int) -> tuple[np.ndarray, bool]:
    """Return the scores of the test images, float32 [M], and whether the SVM converged."""
    svm, converged = fit_svm(train, labels[:, number], cost, seed, max_iterations)
    return svm.decision_function(test).astype(np.float32), converged
