"""Health of the representation while it is learnt: measures without labels on held-out images, and alarms."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor
from torch.utils.data import DataLoader

from mmsimclr import distributed
from mmsimclr.engine.hooks.held_out import (
    evaluating,
    evenly_spaced,
    in_order,
    record,
    recorded,
    same_random_state,
)
from mmsimclr.engine.samplers.seeded_sampler import SampleIndex
from mmsimclr.errors import InputError
from mmsimclr.evaluation.health import health
from mmsimclr.registry import DATASETS, HOOKS

MEASURES = ('rankme', 'alpha_req', 'effective_dimensions', 'uniformity', 'deviation', 'unit_deviation',
            'dead_share', 'lidar', 'alignment')
STAGES = {'pooled': 'h', 'projection': 'g(h)'}
MIN_IMAGES = 16
# Of alarms (docs/how_to/health.md): RankMe below the first and below this share of that at the start, or
# below the third; growth of the features; accuracy as a multiple of chance, and what is left when it is lost.
FEW, OF_START, ONE, GROWN, LEARNT, LOST = 3.0, 0.6, 1.05, 1e4, 5.0, 0.25
CAUSES = dict(
    collapse='a learning rate too high or a warm-up too short, a temperature far from 0.1 to 0.5, views that '
             'hardly differ, a part with a constant output',
    divergence='a learning rate too high, no weight decay, half precision that overflows, damaged images')


@HOOKS.register_module()
class RepresentationHealthHook(Hook):
    """Measure h ('pooled') and g(h) ('projection') of random views of held-out images, every few epochs.

    ``measures`` names the figures: those of :func:`mmsimclr.evaluation.health.health`, of the first view of
    each image (LiDAR and alignment: of all), and loss and accuracy of batches as large as in training, or of
    all these images where they are fewer. The views are made once, as the training images' are. Weights and
    random numbers of the run stay as they are. What :func:`signs` finds at two evaluations running is an
    alarm: a warning, given once and recorded.

    Args:
        held_out: How the config of the held-out images differs from that of the training images, such as
            ``dict(split='val')``; with a ``type``, a config of its own, but for the pipeline.
        interval: Epochs between evaluations, >= 1; random weights and the last epoch are always evaluated.
        num_images: At most this many images, evenly spaced. RankMe and LiDAR cannot exceed their number.
    """

    priority = 'LOW'                  # after FiniteLossHook, before CheckpointHook, which keeps the figures
    measures = (*(f'health/{stage}_{name}' for stage in STAGES for name in MEASURES),
                'health/contrastive_loss', 'health/contrastive_accuracy', 'health/contrastive_chance')

    def __init__(self, held_out: Mapping[str, Any], interval: int = 10, num_images: int = 512) -> None:
        if interval < 1 or num_images < MIN_IMAGES:
            raise InputError(f'interval must be >= 1 and num_images >= {MIN_IMAGES}, got {interval} and '
                             f'{num_images}')
        self.held_out, self.interval, self.num_images = held_out, interval, num_images

    def before_train(self, runner) -> None:
        """Make the views, so that an image which cannot be read ends the run before its first step."""
        config, loader = runner.cfg.train_dataloader.dataset, runner.train_dataloader
        try:
            dataset = DATASETS.build(changed(config, self.held_out))
        except TypeError as error:
            raise InputError(f'held_out={dict(self.held_out)} does not fit the training '
                             f'images: {error}; give its type, or take the hook out') from error
        world_size, rank = distributed.world_size(), distributed.rank()
        places = evenly_spaced(len(dataset), self.num_images) if len(dataset) else []
        places = places[:len(places) // world_size * world_size]         # as many on each rank
        if len(places) < MIN_IMAGES:
            runner.logger.info(f'health is not measured: {len(dataset)} held-out images are too few, it '
                               f'needs {MIN_IMAGES} and one for each process')
            places = []
        own = [SampleIndex(place, epoch=0, seed=0) for place in places[rank::world_size]]
        with same_random_state():
            batches = DataLoader(
                dataset, loader.batch_size, sampler=own, collate_fn=loader.collate_fn,
                num_workers=loader.num_workers if own else 0, generator=torch.Generator())
            self._batches = [copy.deepcopy(batch) for batch in batches]       # out of the shared memory
        runner.message_hub.update_info('health_images', len(places))
        if places and runner.iter == 0:
            self._evaluate(runner, 'at the start')

    def after_train_epoch(self, runner) -> None:
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self.measure(runner)

    def measure(self, runner) -> None:
        """Evaluate after an epoch, if there are images for it."""
        if self._batches:
            self._evaluate(runner, f'epoch {runner.epoch + 1}')

    def _evaluate(self, runner, when: str) -> None:
        record(runner, self.evaluate(runner.model))
        evaluations = [each for each in recorded(runner) if 'health/contrastive_chance' in each]
        figures = evaluations[-1]
        runner.logger.info(f'{when}: ' + ', '.join(f'{name} {figures[f"health/{key}"]:.4g}' for name, key in {
            'RankMe of h': 'pooled_rankme', 'of g(h)': 'projection_rankme',
            'held-out loss': 'contrastive_loss', 'accuracy': 'contrastive_accuracy'}.items()
            if f'health/{key}' in figures))
        alarms, before = runner.message_hub.runtime_info.get('alarms', []), signs(evaluations[:-1])
        for kind, seen in signs(evaluations).items():
            if kind in before and runner.iter and kind not in [alarm['kind'] for alarm in alarms]:
                runner.logger.warning(f'{when}: {kind}: {seen}. Usual causes: {CAUSES[kind]}')
                alarms = [*alarms, dict(kind=kind, seen=seen, epoch=figures['epoch'], iteration=runner.iter)]
                runner.message_hub.update_info('alarms', alarms)

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Return all figures that have a value; every rank must call this."""
        model, dtype = distributed.unwrap_model(model), next(model.parameters()).dtype
        by_stage: dict[str, list[Tensor]] = {stage: [] for stage in STAGES}
        with evaluating(model):
            for batch in self._batches:
                views = model.data_preprocessor(batch, training=True)['inputs']
                rows = [model(view.to(dtype), mode='predict') for view in views]
                for stage, key in zip(STAGES, ('feature', 'projection'), strict=True):
                    by_stage[stage].append(torch.stack([
                        torch.stack([row.get(key) for row in of_view]) for of_view in rows], dim=1).float())
            figures = _contrastive(model.head, by_stage['projection'])
        for stage, parts in by_stage.items():
            rows = in_order(torch.cat(parts))
            if rows.isfinite().all():
                measured = health(rows[:, 0], rows)
                figures |= {f'health/{stage}_{name}': value for name, value in measured.items()}
        return {name: value for name, value in figures.items() if math.isfinite(value)}


def changed(config: Mapping[str, Any], held_out: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a dataset, inside of any wrappers changed into that of held-out images."""
    if isinstance(config.get('dataset'), Mapping):
        return {**config, 'dataset': changed(config['dataset'], held_out)}
    kept = {'pipeline': config.get('pipeline', [])} if 'type' in held_out else config
    return {**kept, **held_out}


def _contrastive(head: torch.nn.Module, batches: list[Tensor]) -> dict[str, float]:
    """Return loss and accuracy of projections [n, V, D], averaged over batches of the size of the first."""
    parts = [head.loss(batch.unbind(dim=1)) for batch in batches if len(batch) == len(batches[0])]
    figures = {'health/contrastive_chance': 1 / (len(batches[0]) * distributed.world_size())}
    for name in ('loss', 'contrastive_accuracy'):
        if name in parts[0]:
            mean = torch.stack([part[name] for part in parts]).mean()
            figures[f'health/contrastive_{name.removeprefix("contrastive_")}'] = float(mean)
    return figures


def signs(evaluations: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return what is wrong at the last of several evaluations, by kind: 'collapse' and 'divergence'."""
    if not evaluations:
        return {}
    found, now, start = {}, evaluations[-1], evaluations[0]
    for stage, name in STAGES.items():
        if f'health/{stage}_rankme' not in now:
            found['divergence'] = f'{name} is not finite'
            continue
        rank, first_rank = (each.get(f'health/{stage}_rankme', FEW) for each in (now, start))
        spread, first_spread = (each.get(f'health/{stage}_deviation', 0.0) for each in (now, start))
        if rank < max(ONE, min(FEW, OF_START * first_rank if not start['iteration'] else FEW)):
            found.setdefault('collapse', (
                f'{name} of different images are alike or lie along few directions (RankMe {rank:.3g}, unit '
                f'deviation {now[f"health/{stage}_unit_deviation"]:.2g})'))
        if spread > GROWN * first_spread > 0:
            times = f'{spread / first_spread:.1g} times'
            found.setdefault('divergence', f'{name} spreads {times} as far as at the start')
    accuracies = [each.get('health/contrastive_accuracy', 0.0) for each in evaluations if each['iteration']]
    best, chance = max(accuracies, default=0.0), now.get('health/contrastive_chance', 0.0)
    if best >= LEARNT * chance and accuracies and accuracies[-1] < LOST * best:
        found.setdefault('divergence', f'contrastive accuracy fell from {best:.0%} to {accuracies[-1]:.0%}')
    return found
