"""Transfer to other classification datasets: by logistic regression on frozen features."""

import copy
import dataclasses
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmsimclr.features.preparation import preparation_for
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.classification_metrics import METRICS, absent_classes
from mmsimclr.protocols.logistic_regression import LinearClassifier, regression_path
from mmsimclr.protocols.predictions import Predictions, feature_names
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.transfer_datasets import TransferDataset, choose_datasets, count_classes, hold_out
from mmsimclr.registry import PROTOCOLS


class Transfer(Protocol):
    """What protocols have in common that measure an encoder on several datasets.

    Each dataset's result is written into a folder of its own below the work directory, with predictions,
    and the result of all into the work directory; where there is one dataset only, that is its result.

    Args:
        tasks: The datasets, arguments of :class:`TransferDataset`.
        datasets: Names of those to run; all by default.
        skip_missing: Leave out datasets whose files are not there, and say so in the result, rather than
            stop before the first.

    Raises:
        ValueError: If an argument is out of range.
    """

    protocol = 'transfer'

    def __init__(self, tasks: Sequence[TransferDataset | dict], datasets: str | Sequence[str] | None = None,
                 skip_missing: bool = False) -> None:
        self.tasks = [task if isinstance(task, TransferDataset) else TransferDataset(**task)
                      for task in tasks]
        self.datasets, self.skip_missing = datasets, skip_missing

    def run(self, benchmark: Benchmark) -> Result:
        """Measure the encoder on each dataset and return the result of all, or of the only one.

        Raises:
            FileNotFoundError: If a dataset is missing; before anything is computed.
        """
        tasks, skipped = choose_datasets(self.tasks, self.datasets, self.skip_missing)
        for reason in skipped:
            benchmark.logger.warning('skipped %s', reason)
        if len(tasks) == 1 and not skipped:
            return self.measure(_part(benchmark, tasks[0], ''), tasks[0])
        results = {task.slug: self.measure(_part(benchmark, task, task.slug), task) for task in tasks}
        return benchmark.result(
            self.protocol_name(benchmark),
            {f'{slug}_{name}': value for slug, result in results.items()
             for name, value in result.metrics.items()},
            {f'{slug}_{part}': count for slug, result in results.items()
             for part, count in result.num_images.items()},
            dict(parts={task.name: f'{task.slug}/result.json' for task in tasks}, skipped=skipped))

    def protocol_name(self, benchmark: Benchmark) -> str:
        """Return what results call the protocol."""
        return self.protocol

    @abstractmethod
    def measure(self, benchmark: Benchmark, task: TransferDataset) -> Result:
        """Measure the encoder on one dataset and return the result."""


@PROTOCOLS.register_module()
class TransferLinear(Transfer):
    """Fit L2-regularised logistic regression to frozen features.

    The regularisation with the best metric on the validation images is used again on training and
    validation images together, and that classifier is tested; of equally good ones the strongest is taken.
    For images of several classes, it is one binary regression for each class, all with the same
    regularisation. See :func:`~mmsimclr.protocols.logistic_regression.regression_path` for the objective.

    Args:
        tasks: See :class:`Transfer`.
        l2: Regularisations, each > 0, of the mean loss.
        image_px: Short side of the images, and side of the central crop, in pixels; by default 224, or 32
            where the encoder's stem is CIFAR's.
        datasets: See :class:`Transfer`.
        skip_missing: See :class:`Transfer`.
        max_iterations: Bound on L-BFGS iterations for each regularisation.

    Source:
        Chen et al. 2020, appendix B.8; Kornblith et al. 2019, Do Better ImageNet Models Transfer Better?
    """

    protocol = 'transfer linear'

    def __init__(self, tasks: Sequence[TransferDataset | dict], l2: Sequence[float],
                 image_px: int | None = None, datasets: str | Sequence[str] | None = None,
                 skip_missing: bool = False, max_iterations: int = 1000) -> None:
        super().__init__(tasks, datasets, skip_missing)
        self.l2 = [float(value) for value in l2]
        if not self.l2 or min(self.l2) <= 0:
            raise ValueError(f'l2 must be numbers > 0, got {list(l2)} (the paper: 45 from 1e-6 to 1e5)')
        self.image_px, self.max_iterations = image_px, max_iterations

    def measure(self, benchmark: Benchmark, task: TransferDataset) -> Result:
        """Choose the regularisation on validation images, fit to all training images, and test."""
        side = self.image_px or preparation_for(benchmark.encoder.build()[0]).crop_px
        train, val, test = (
            None if dataset is None else benchmark.features(dataset, resize_px=side, crop_px=side)
            for dataset in (task.train, task.val, task.test))
        metric = METRICS[task.metric]
        others = [part.labels for part in (val, test) if part is not None]
        num_classes = count_classes(task.name, train.labels, *others)

        def path(features: np.ndarray, labels: np.ndarray, l2: Sequence[float], rows: np.ndarray | None
                 ) -> list[LinearClassifier]:
            return regression_path(features, labels, num_classes, l2, rows=rows, device=benchmark.device,
                                   max_iterations=self.max_iterations)

        features, labels = train.stages['pooled'], train.labels
        if val is None:
            fit, validate = hold_out(labels, task.held_out, benchmark.seed)
        else:
            features = np.concatenate([features, val.stages['pooled']])
            labels = np.concatenate([labels, val.labels])
            fit, validate = np.split(np.arange(len(labels)), [len(train)])
        by_l2 = {}
        for classifier in path(features, labels, self.l2, fit):
            predicted = _predicted(classifier.scores(features, validate), labels)
            by_l2[classifier.l2] = metric(labels[validate], predicted)
            benchmark.logger.info('%s: l2 %.2e gives %.2f on validation', task.name, classifier.l2,
                                  by_l2[classifier.l2])
        best = max(by_l2, key=by_l2.get)
        classifier, = path(features, labels, [best], None)
        predicted = _predicted(classifier.scores(test.stages['pooled']), labels)
        settings = dict(
            l2=best, l2_is_at_end=len(self.l2) > 1 and best in (min(self.l2), max(self.l2)),
            objective='mean loss + l2 / 2 |W|^2', converged=classifier.converged,
            validation={f'{value:.3g}': round(score, 2) for value, score in by_l2.items()},
            validation_images='official' if val is not None else f'{task.held_out:g} of train, by class',
            feature='average of the last map', **train.manifest['preparation'],
            **about_classes(test.labels, num_classes))
        return benchmark.result(
            self.protocol_name(benchmark), {task.metric: metric(test.labels, predicted)},
            dict(train=len(fit), val=len(validate), test=len(test)), settings,
            Predictions(test.labels, predicted, feature_names(test)))


def _predicted(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return scores.argmax(axis=1) if labels.ndim == 1 else scores


def about_classes(test_labels: np.ndarray, num_classes: int) -> dict[str, Any]:
    """Return what a result says of the classes; int64 [N] or [N, K], the labels of the test."""
    if test_labels.ndim == 2:
        return dict(num_classes=num_classes)
    return dict(num_classes=num_classes, classes_absent_from_test=absent_classes(test_labels, num_classes))


def _part(benchmark: Benchmark, task: TransferDataset, folder: str) -> Benchmark:
    """Return the benchmark of one dataset, which works in its own folder."""
    config = copy.deepcopy(benchmark.config)
    config.dataset_name = task.name
    work_dir = benchmark.work_dir / folder
    work_dir.mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(benchmark, config=config, work_dir=work_dir, started=time.perf_counter())
