"""Transfer to other classification datasets: logistic regression on frozen features, and fine-tuning."""

import copy
import dataclasses
import itertools
import re
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger
from numpy import ndarray

from mmsimclr import distributed
from mmsimclr.config import ConfigError, canonical, differences
from mmsimclr.errors import InputError, MissingFileError, did_you_mean
from mmsimclr.evaluation.logistic_regression import regression_path
from mmsimclr.evaluation.metrics import METRICS
from mmsimclr.features import describe_stage, list_images
from mmsimclr.features.images import preparation_for
from mmsimclr.files import check_fields, read_if_whole, read_json, write_json
from mmsimclr.protocols.base import Benchmark, Protocol, count_classes
from mmsimclr.protocols.duplicates import look_for_duplicates
from mmsimclr.protocols.result import Predictions, Result, feature_names
from mmsimclr.protocols.training import changes_in, check_model, train_classifier, training_config
from mmsimclr.registry import DATASETS, PROTOCOLS

POINT = 'point.json'


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
        if any(result.wall_time_s is None for result in results.values()):
            benchmark.started = None
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
    return dataclasses.replace(benchmark, config=config, work_dir=work_dir, started=time.perf_counter(),
                               notes={}, splits={}, images={})


@PROTOCOLS.register_module()
class TransferLinear(Transfer):
    """Fit L2-regularised logistic regression to frozen features.

    The regularisation with the best metric on the validation images is used again on training and
    validation images together, and that classifier is tested; of equally good ones the strongest is taken.
    See :func:`~mmsimclr.evaluation.logistic_regression.regression_path` for the objective. The short side of
    images is resized to the side of the encoder's crop.

    Args:
        tasks, datasets, skip_missing: See :class:`Transfer`.
        l2: Regularisations, each > 0, of the mean loss.
        max_iterations: Bound on L-BFGS iterations for each regularisation.
        feature: The features, a stage of :class:`~mmsimclr.features.Embedder`, e.g. ``'projection'``.

    Source:
        Chen et al. 2020, appendix B.8; Kornblith et al. 2019, Do Better ImageNet Models Transfer Better?
    """

    protocol, lists_duplicates = 'transfer linear', True

    def __init__(self, tasks: Sequence[TransferDataset | dict], l2: Sequence[float],
                 datasets: str | Sequence[str] | None = None, skip_missing: bool = False,
                 max_iterations: int = 1000, feature: str = 'pooled') -> None:
        super().__init__(tasks, datasets, skip_missing)
        self.feature, self.max_iterations = feature, max_iterations
        self.l2 = [float(value) for value in l2]
        if not self.l2 or min(self.l2) <= 0:
            raise InputError(f'l2 must be numbers > 0, got {list(l2)} (the paper: 45 from 1e-6 to 1e5)')

    def measure(self, benchmark: Benchmark, task: TransferDataset) -> Result:
        """Choose the regularisation on validation images, fit to all training images, and test."""
        side = preparation_for(benchmark.encoder.backbone).crop_px
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
        held_out, by_l2 = features[validate], {}
        for classifier in regression_path(features[fit], labels[fit], num_classes, self.l2, **path):
            score = metric(labels[validate], _predicted(classifier.scores(held_out), labels))
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


@PROTOCOLS.register_module()
class TransferFineTuning(Transfer):
    """Train the whole network with each pair of learning rate and weight decay.

    The pair with the best metric on the validation images is used again on training and validation images
    together, and that network is tested; of equally good pairs the first is taken. What each pair gave is
    kept in the work directory, so that an interrupted run goes on with the pairs that are left. The config is
    that of :class:`~mmsimclr.protocols.SemiSupervised`, without datasets.

    Args:
        tasks, datasets, skip_missing: See :class:`Transfer`.
        lr, weight_decay: Learning rates, each > 0; weight decays, each >= 0, which the optimizer gets divided
            by the learning rate.
        train_pipeline, test_pipeline: Transforms of training images, and of those to validate and test on.
        from_scratch: Whether the encoder must be randomly initialised, rather than from a checkpoint.

    Source:
        Chen et al. 2020, appendix B.8; Kornblith et al. 2019, Do Better ImageNet Models Transfer Better?
    """

    def __init__(self, tasks: Sequence[TransferDataset | dict], lr: Sequence[float],
                 weight_decay: Sequence[float], train_pipeline: Sequence, test_pipeline: Sequence,
                 from_scratch: bool = False, datasets: str | Sequence[str] | None = None,
                 skip_missing: bool = False) -> None:
        super().__init__(tasks, datasets, skip_missing)
        if not lr or not weight_decay or min(lr) <= 0 or min(weight_decay) < 0:
            raise InputError('lr must be numbers > 0 and weight_decay numbers >= 0, at least one each, got '
                             f'{lr} and {weight_decay}')
        self.grid = [dict(lr=float(rate), weight_decay=float(decay))
                     for rate, decay in itertools.product(lr, weight_decay)]
        self.train_pipeline, self.test_pipeline = train_pipeline, test_pipeline
        self.from_scratch = from_scratch
        self.protocol = 'transfer random init' if from_scratch else 'transfer fine-tuned'

    def run(self, benchmark: Benchmark) -> Result:
        """Check that the encoder is of the kind that ``from_scratch`` says, and go on as any transfer."""
        is_random = benchmark.encoder.weights is None
        if self.from_scratch and not is_random:
            raise ConfigError('this config trains from random initialisation: give no CHECKPOINT, but --init '
                              'random')
        if is_random and not self.from_scratch:
            raise ConfigError('this config fine-tunes a pre-trained encoder: give a CHECKPOINT (for random '
                              'initialisation there is transfer-random-init.py)')
        check_model(benchmark.config, frozen=False)
        return super().run(benchmark)

    def measure(self, benchmark: Benchmark, task: TransferDataset) -> Result:
        """Choose the pair on validation images, train on all training images, and test."""
        fit, validate, everything = self._parts(task, benchmark.seed)
        listed = {part: list_images(_build(images)) for part, images in (('train', fit), ('val', validate))}
        common = dict(metric=task.metric, ranks=distributed.world_size(), **benchmark.encoder.identity)
        common |= {f'data.{part}': images.sha256 for part, images in listed.items()}
        rows = []
        for pair in self.grid:
            name = f'lr{pair["lr"]:.3g}_wd{pair["weight_decay"]:.3g}'
            options, point = self._options(pair, fit, validate), benchmark.work_dir / name / POINT
            identity = {**canonical(training_config(benchmark, (), options)), **common}
            known = distributed.from_first_rank(_read_point, point, identity, benchmark.logger)
            if known is None:
                trained = train_classifier(benchmark, options, name)
                answers = trained.answers()[1]
                score, history = METRICS[task.metric](answers.labels, answers.predicted), trained.history
                if distributed.rank() == 0:
                    write_json(point, dict(validation=score, identity=identity, history=history))
            else:
                score, history = known
                benchmark.started = None
            benchmark.logger.info('%s: %s gives %.2f on validation', task.name, name, score)
            rows.append({**pair, 'validation': round(score, 4), **history})
        best = max(range(len(rows)), key=lambda place: rows[place]['validation'])
        trained = train_classifier(benchmark, self._options(self.grid[best], everything, task.test), 'best')
        _, answers = trained.answers()
        return benchmark.result(
            self.protocol, {task.metric: METRICS[task.metric](answers.labels, answers.predicted)},
            dict(trained.num_images, val=len(_build(validate))),
            dict(trained.settings, chosen=self.grid[best], selected_on='validation', grid=rows,
                 validation_images='official' if task.val else f'{task.held_out:g} of train, by class',
                 **about_classes(answers.labels, trained.evaluation.num_classes),
                 **changes_in([*rows, trained.history])),
            answers)

    def _parts(self, task: TransferDataset, seed: int) -> tuple[dict, dict, dict]:
        """Return the configs of what to fit to, to validate on, and to fit to in the end."""
        if task.val is not None and task.trainval is None:
            raise ConfigError(f'{task.name} has val, so it needs trainval, for the last training')
        labels = [list_images(_build(part)).labels
                  for part in (task.train, task.val, task.test) if part is not None]
        count_classes(task.name, *labels)
        if task.val is not None:
            return dict(task.train), dict(task.val), dict(task.trainval)
        fit, validate = hold_out(labels[0], task.held_out, seed)
        return ({**task.train, 'indices': fit.tolist()}, {**task.train, 'indices': validate.tolist()},
                dict(task.train))

    def _options(self, pair: Mapping[str, float], train: Mapping[str, Any], test: Mapping[str, Any]
                 ) -> dict[str, Any]:
        """Return the values of the config for the training of a pair."""
        return {
            'train_dataloader.dataset': {**train, 'pipeline': self.train_pipeline},
            'test_dataloader.dataset': {**test, 'pipeline': self.test_pipeline},
            'optim_wrapper.optimizer.lr': pair['lr'],
            'optim_wrapper.optimizer.weight_decay': pair['weight_decay'] / pair['lr']}


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
    absent = np.setdiff1d(np.arange(num_classes), test_labels).tolist()
    return dict(num_classes=num_classes, classes_absent_from_test=absent)


def _build(dataset: Mapping[str, Any]) -> Any:
    return DATASETS.build({**dataset, 'pipeline': []})


def _read_point(path: Path, identity: Mapping[str, Any], logger: MMLogger
                ) -> tuple[float, dict[str, Any]] | None:
    """Return validation metric and history of a point trained before, if it is of the same identity."""
    kind = 'a point of the grid'
    point = read_if_whole(lambda path: check_fields(
        read_json(path, kind), str(path), kind, dict(validation=(int, float), identity=(dict,))), path)
    if point is None:
        return None
    changed = differences(point['identity'], identity, ('protocol',))
    if changed:
        logger.info('%s is of other settings and not used, as the first shows: %s was %s and is %s', path,
                    *changed[0])
    return None if changed else (point['validation'], point.get('history', {}))
