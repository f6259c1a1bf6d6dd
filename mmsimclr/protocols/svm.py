"""VOC07 SVM: linear SVMs on the features of five layers, the cost chosen by cross-validation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold

from mmsimclr import distributed
from mmsimclr.models.heads.feature_pooling import POOLED_FEATURES
from mmsimclr.protocols.average_precision import average_precision
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.linear_svm import (
    COSTS,
    MAX_ITERATIONS,
    check_costs,
    fit_svm,
    run_in_parallel,
    svm_features,
    svm_settings,
    voc07_preparation,
    worker_processes,
    write_csv,
)
from mmsimclr.protocols.one_vs_rest import class_names, class_predictions, multi_labels, unusable_classes
from mmsimclr.protocols.result import Result
from mmsimclr.registry import PROTOCOLS

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
            raise ValueError(f'num_folds must be >= 2, got {num_folds} (3 is usual)')
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
