"""Transfer to other classification datasets by fine-tuning over a grid."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

from mmsimclr import distributed
from mmsimclr.config import ConfigError, canonical, differences
from mmsimclr.errors import InputError
from mmsimclr.evaluation.metrics import METRICS
from mmsimclr.features import list_images
from mmsimclr.files import check_fields, read_if_whole, read_json, write_json
from mmsimclr.protocols.base import Benchmark, count_classes
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import check_model, train_classifier, training_config
from mmsimclr.protocols.transfer import Transfer, TransferDataset, about_classes, hold_out
from mmsimclr.registry import DATASETS, PROTOCOLS

POINT = 'point.json'


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
            score = distributed.from_first_rank(_read_point, point, identity, benchmark.logger)
            if score is None:
                _, answers = train_classifier(benchmark, options, name).answers()
                score = METRICS[task.metric](answers.labels, answers.predicted)
                if distributed.rank() == 0:
                    write_json(point, dict(validation=score, identity=identity))
            else:
                benchmark.started = None
            benchmark.logger.info('%s: %s gives %.2f on validation', task.name, name, score)
            rows.append({**pair, 'validation': round(score, 4)})
        best = max(range(len(rows)), key=lambda place: rows[place]['validation'])
        trained = train_classifier(benchmark, self._options(self.grid[best], everything, task.test), 'best')
        _, answers = trained.answers()
        return benchmark.result(
            self.protocol, {task.metric: METRICS[task.metric](answers.labels, answers.predicted)},
            dict(trained.num_images, val=len(_build(validate))),
            dict(trained.settings, chosen=self.grid[best], selected_on='validation', grid=rows,
                 validation_images='official' if task.val else f'{task.held_out:g} of train, by class',
                 **about_classes(answers.labels, trained.evaluation.num_classes)),
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


def _build(dataset: Mapping[str, Any]) -> Any:
    return DATASETS.build({**dataset, 'pipeline': []})


def _read_point(path: Path, identity: Mapping[str, Any], logger: MMLogger) -> float | None:
    """Return the validation metric of a point that was trained before, if it is of the same identity."""
    kind = 'a point of the grid'
    point = read_if_whole(lambda path: check_fields(
        read_json(path, kind), str(path), kind, dict(validation=(int, float), identity=(dict,))), path)
    if point is None:
        return None
    changed = differences(point['identity'], identity, ('protocol',))
    if changed:
        logger.info('%s is of other settings and not used, as the first shows: %s was %s and is %s', path,
                    *changed[0])
    return None if changed else point['validation']
