"""Transfer to other classification datasets by logistic regression on frozen features."""

import copy
import dataclasses
import re
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError, MissingFileError, did_you_mean
from mmsimclr.evaluation.logistic_regression import regression_path
from mmsimclr.evaluation.metrics import METRICS, absent_classes
from mmsimclr.features import describe_stage
from mmsimclr.features.images import preparation_for
from mmsimclr.protocols.base import Benchmark, Protocol, count_classes
from mmsimclr.protocols.duplicates import look_for_duplicates
from mmsimclr.protocols.result import Predictions, Result, feature_names
from mmsimclr.registry import PROTOCOLS


@dataclass(frozen=True)
class TransferDataset:
    """One dataset of a transfer benchmark; the parts are configs of images."""

    name: str                                   # as published results call it
    metric: str                                 # a key of mmsimclr.evaluation.metrics.METRICS
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    val: Mapping[str, Any] | None = None        # official, not among train; else some is held out
    trainval: Mapping[str, Any] | None = None   # both together; needed with val where the encoder is trained
    held_out: float = 0.2                       # the share of train, of each class, > 0 and < 1
    root: str | None = None                     # folder of the files; None where there are none
    needs: Sequence[str] = ()                   # paths, or patterns such as 'batches-*', that must be in it
    source: str = ''                            # where to fetch it
    note: str = ''                              # further remarks on source or layout

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InputError(f'metric of {self.name} must be one of {", ".join(METRICS)}, got '
                             f'{self.metric!r}')
        if not 0 < self.held_out < 1:
            raise InputError(f'held_out of {self.name} must be > 0 and < 1, got {self.held_out}')

    @property
    def slug(self) -> str:
        """The name in small letters and underscores, for files and metrics."""
        return re.sub(r'\W+', '_', self.name.lower())

    @property
    def missing(self) -> list[str]:
        """Those of ``needs`` that are not there."""
        return [part for part in self.needs if not any(Path(self.root).glob(part))] if self.root else []



class Transfer(Protocol):
    """Base of protocols that measure an encoder on several datasets, each in a folder of its own.

    The result of all goes into the work directory; where there is one dataset only, that is its result.

    Args:
        tasks: The datasets, arguments of :class:`TransferDataset`.
        datasets: Names of those to run; all by default.
        skip_missing: Leave out datasets whose files are missing, and say so in the result, rather than stop.
    """

    protocol = 'transfer'

    def __init__(self, tasks: Sequence[TransferDataset | dict], datasets: str | Sequence[str] | None = None,
                 skip_missing: bool = False) -> None:
        self.tasks = [task if isinstance(task, TransferDataset) else TransferDataset(**task)
                      for task in tasks]
        self.datasets, self.skip_missing = datasets, skip_missing

    def run(self, benchmark: Benchmark) -> Result:
        """Measure the encoder on each dataset and return the result of all, or of the only one."""
        tasks, skipped = choose_datasets(self.tasks, self.datasets, self.skip_missing)
        for reason in skipped:
            benchmark.logger.warning('skipped %s', reason)
        if len(tasks) == 1 and not skipped:
            return self.measure(_part(benchmark, tasks[0], ''), tasks[0])
        results = {task.slug: self.measure(_part(benchmark, task, task.slug), task) for task in tasks}
        return benchmark.result(
            self.protocol,
            {f'{slug}_{name}': value for slug, result in results.items()
             for name, value in result.metrics.items()},
            {f'{slug}_{part}': count for slug, result in results.items()
             for part, count in result.num_images.items()},
            dict(parts={task.name: f'{task.slug}/result.json' for task in tasks}, skipped=skipped))

    @abstractmethod
    def measure(self, benchmark: Benchmark, task: TransferDataset) -> Result:
        """Measure the encoder on one dataset and return the result."""


def _part(benchmark: Benchmark, task: TransferDataset, folder: str) -> Benchmark:
    """Return the benchmark of one dataset, which works in its own folder."""
    config = copy.deepcopy(benchmark.config)
    config.dataset_name = task.name
    work_dir = benchmark.work_dir / folder
    work_dir.mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(benchmark, config=config, work_dir=work_dir, images={},
                               started=time.perf_counter())


@PROTOCOLS.register_module()
class TransferLinear(Transfer):
    """Fit L2-regularised logistic regression to frozen features.

    The regularisation with the best metric on the validation images is used again on training and
    validation images together, and that classifier is tested; of equally good ones the strongest is taken.
    See :func:`~mmsimclr.evaluation.logistic_regression.regression_path` for the objective.

    Args:
        tasks, datasets, skip_missing: See :class:`Transfer`.
        l2: Regularisations, each > 0, of the mean loss.
        image_px: Short side of the images, and side of the central crop, in pixels; by default 224, or 32
            where the encoder's stem is CIFAR's.
        max_iterations: Bound on L-BFGS iterations for each regularisation.
        feature: The features, a stage of :class:`~mmsimclr.features.Embedder`, e.g. ``'projection'``.

    Source:
        Chen et al. 2020, appendix B.8; Kornblith et al. 2019, Do Better ImageNet Models Transfer Better?
    """

    protocol = 'transfer linear'

    def __init__(self, tasks: Sequence[TransferDataset | dict], l2: Sequence[float],
                 image_px: int | None = None, datasets: str | Sequence[str] | None = None,
                 skip_missing: bool = False, max_iterations: int = 1000, feature: str = 'pooled') -> None:
        super().__init__(tasks, datasets, skip_missing)
        self.feature = feature
        self.l2 = [float(value) for value in l2]
        if not self.l2 or min(self.l2) <= 0:
            raise InputError(f'l2 must be numbers > 0, got {list(l2)} (the paper: 45 from 1e-6 to 1e5)')
        self.image_px, self.max_iterations = image_px, max_iterations

    def measure(self, benchmark: Benchmark, task: TransferDataset) -> Result:
        """Choose the regularisation on validation images, fit to all training images, and test."""
        side = self.image_px or preparation_for(benchmark.encoder.backbone).crop_px
        train, val, test = (
            dataset and benchmark.features(dataset, self.feature, part=part, resize_px=side, crop_px=side)
            for part, dataset in (('train', task.train), ('val', task.val), ('test', task.test)))
        look_for_duplicates(benchmark, train, test)
        metric, path = METRICS[task.metric], dict(device=benchmark.device, max_iterations=self.max_iterations)
        num_classes = count_classes(task.name, train.labels,
                                    *(part.labels for part in (val, test) if part is not None))
        features, labels = train.stages[self.feature], train.labels
        if val is None:
            fit, validate = hold_out(labels, task.held_out, benchmark.seed)
        else:
            features = np.concatenate([features, val.stages[self.feature]])
            labels = np.concatenate([labels, val.labels])
            fit, validate = np.split(np.arange(len(labels)), [len(train)])
        by_l2 = {}
        for classifier in regression_path(features, labels, num_classes, self.l2, rows=fit, **path):
            score = metric(labels[validate], _predicted(classifier.scores(features, validate), labels))
            benchmark.logger.info('%s: l2 %.2e gives %.2f on validation', task.name, classifier.l2, score)
            by_l2[classifier.l2] = score
        best = max(by_l2, key=by_l2.get)
        classifier, = regression_path(features, labels, num_classes, [best], **path)
        predicted = _predicted(classifier.scores(test.stages[self.feature]), labels)
        settings = dict(
            l2=best, l2_is_at_end=len(self.l2) > 1 and best in (min(self.l2), max(self.l2)),
            objective='mean loss + l2 / 2 |W|^2', converged=classifier.converged,
            validation={f'{value:.3g}': round(score, 2) for value, score in by_l2.items()},
            validation_images='official' if val is not None else f'{task.held_out:g} of train, by class',
            feature=describe_stage(self.feature), **train.manifest['preparation'],
            **about_classes(test.labels, num_classes))
        return benchmark.result(
            self.protocol, {task.metric: metric(test.labels, predicted)},
            dict(train=len(fit), val=len(validate), test=len(test)), settings,
            Predictions(test.labels, predicted, feature_names(test)))


def _predicted(scores: ndarray, labels: ndarray) -> ndarray:
    return scores.argmax(axis=1) if labels.ndim == 1 else scores


def choose_datasets(tasks: Sequence[TransferDataset], names: str | Sequence[str] | None,
                    skip_missing: bool) -> tuple[list[TransferDataset], list[str]]:
    """Return the datasets to run, and why others are skipped; refuse unknown names and missing files."""
    known = {task.name: task for task in tasks}
    names = list(known) if names is None else [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in known:
            raise InputError(f'no dataset {name!r} in this benchmark{did_you_mean(name, known, cutoff=0.3)} '
                             f'(all: {", ".join(known)})')
    chosen = [known[name] for name in dict.fromkeys(names)]
    here = [task for task in chosen if not task.missing]
    reasons = [f'{task.name}: no {", ".join(task.missing)} in {Path(task.root).absolute()}. Fetch it from '
               f'{task.source}; {task.root} must hold {", ".join(task.needs)}'
               + (f'. {task.note}' if task.note else '') for task in chosen if task.missing]
    if reasons and (not skip_missing or not here):
        raise MissingFileError(
            '\n'.join([f'{len(reasons)} of {len(chosen)} datasets are not here:', *reasons])
            + ('' if skip_missing else '\nTo run the others: --cfg-options protocol.skip_missing=True, or '
                                       'name them, protocol.datasets=...'))
    return here, reasons


def hold_out(labels: ndarray, share: float, seed: int) -> tuple[ndarray, ndarray]:
    """Split images of classes [N] into those to fit to and those to validate on, ascending.

    A share of each class, rounded, is validated on, at least one of two; a single image is fitted to.
    """
    if labels.ndim != 1:
        raise InputError('images of several classes cannot be held out by class; give a val dataset')
    generator = np.random.default_rng(seed)
    validate = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(places))), len(places) - 1)
        validate.append(generator.permutation(places)[:count])
    validate = np.sort(np.concatenate(validate)) if validate else np.empty(0, np.int64)
    if not len(validate):
        raise InputError('no class has two training images, so none can be held out for validation')
    return np.setdiff1d(np.arange(len(labels)), validate), validate


def about_classes(test_labels: ndarray, num_classes: int) -> dict[str, Any]:
    """Return what a result says of the classes, given the labels of the test, int64 [N] or [N, K]."""
    if test_labels.ndim == 2:
        return dict(num_classes=num_classes)
    return dict(num_classes=num_classes, classes_absent_from_test=absent_classes(test_labels, num_classes))
