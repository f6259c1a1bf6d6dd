"""Protocols that train a classifier: linear ones on a frozen encoder, and the whole network with labels."""

import itertools
from collections.abc import Mapping, Sequence

from mmsimclr.config import ConfigError
from mmsimclr.errors import InputError
from mmsimclr.features import describe_stage
from mmsimclr.models import POOLED_FEATURES
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import changes_in, check_model, train_classifier
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class LinearEvaluation(Protocol):
    """Train one linear classifier on the frozen encoder's last map, averaged over its positions.

    The config is that of an MMEngine run: ``model``, a frozen :class:`~mmsimclr.models.Classifier` with one
    head, ``train_dataloader``, ``test_dataloader``, ``optim_wrapper``, ``param_scheduler`` and ``train_cfg``.
    The head's ``feature='projection'``, or ``'projection.hidden1'`` ..., reads the projection head instead.

    Source:
        Chen et al. 2020, sections 2.3 and B.6.
    """

    def run(self, benchmark: Benchmark) -> Result:
        """Train, evaluate, and return top-1 and top-5 accuracy in percent."""
        check_model(benchmark.config, frozen=True)
        head, = benchmark.config.model.heads.values()
        return train_classifier(benchmark).result(
            benchmark, 'linear', feature=describe_stage(head.get('feature', 'pooled')))


@PROTOCOLS.register_module()
class LinearPerLayer(Protocol):
    """Train a linear classifier on each feature of the frozen encoder, all on one forward pass.

    Feature 1 is the stem, 2 to 5 are the stages. The config is that of :class:`LinearEvaluation` with a head
    for each feature.

    Source:
        Goyal et al. 2019, section 6.1; MMSelfSup 1.x.
    """

    def run(self, benchmark: Benchmark) -> Result:
        """Train, and return the accuracies of each feature in percent, and the best one's predictions."""
        check_model(benchmark.config, frozen=True, num_heads=None)
        for name, head in benchmark.config.model.heads.items():
            if name not in POOLED_FEATURES or head.get('feature') != name:
                raise ConfigError('model.heads must be named as their features, '
                                  f'{", ".join(POOLED_FEATURES)}; got {name!r} on {head.get("feature")!r}')
        trained = train_classifier(benchmark)
        by_head = {head: trained.evaluation.metrics(head) for head in trained.evaluation.answers}
        best = max(by_head, key=lambda head: by_head[head]['top_1_accuracy_percent'])
        numbered = {head: f'feature_{POOLED_FEATURES.index(head) + 1}' for head in by_head}
        metrics = {f'{numbered[head]}_{name}': value for head, values in by_head.items()
                   for name, value in values.items()}
        return benchmark.result('linear on each feature', metrics, trained.num_images,
                                {**trained.settings, 'predictions_of': numbered[best]},
                                trained.answers(best)[1])


@PROTOCOLS.register_module()
class SemiSupervised(Protocol):
    """Fine-tune encoder and classifier on a share of the labelled images.

    The config is that of an MMEngine run, with a :class:`~mmsimclr.models.Classifier` that is not frozen, of
    one head, and ``train_dataloader`` on the share (:class:`~mmsimclr.datasets.ListedSubset` or
    :class:`~mmsimclr.datasets.BalancedSubset`).

    Args:
        labels: The share as it is published, ``'1%'`` or ``'10%'``.
        grid: Learning rates and factors on that of the classifier, ``dict(lr=..., head_lr_multiplier=...)``,
            each > 0: each pair is trained, and the best is reported. It is chosen on the test, as in the
            published results of this kind, and the result says so. None trains once, as the config says.

    Source:
        Chen et al. 2020, section 6 and B.5; MMSelfSup 1.x for the grid.
    """

    def __init__(self, labels: str, grid: Mapping[str, Sequence[float]] | None = None) -> None:
        self.labels = labels
        grid = dict(grid or {})
        if grid and (set(grid) != {'lr', 'head_lr_multiplier'}
                     or not all(len(values) and min(values) > 0 for values in grid.values())):
            raise InputError('grid must be dict(lr=[...], head_lr_multiplier=[...]) with numbers > 0, got '
                             f'{grid}')
        self.points = [dict(lr=lr, head_lr_multiplier=factor) for lr, factor in
                       itertools.product(grid.get('lr', ()), grid.get('head_lr_multiplier', ()))]

    def run(self, benchmark: Benchmark) -> Result:
        """Train, evaluate, and return top-1 and top-5 accuracy in percent."""
        check_model(benchmark.config, frozen=False)
        best, chosen, rows, metric = None, {}, [], 'top_1_accuracy_percent'
        for point in self.points:
            lr, factor = point['lr'], point['head_lr_multiplier']
            trained = train_classifier(benchmark, {
                'optim_wrapper.optimizer.lr': lr,
                'optim_wrapper.paramwise_cfg': dict(custom_keys={'heads': dict(lr_mult=factor)})},
                f'lr{lr:g}_head{factor:g}')
            rows.append({**point, **trained.answers()[0], **trained.history})
            if best is None or rows[-1][metric] > max(row[metric] for row in rows[:-1]):
                best, chosen = trained, point
        selection = dict(grid=rows, chosen=chosen, selected_on='test', **changes_in(rows)) if rows else {}
        return (best or train_classifier(benchmark)).result(
            benchmark, f'semi-supervised {self.labels}', **selection)


@PROTOCOLS.register_module()
class Supervised(Protocol):
    """Train encoder and classifier with labels from random initialisation, under the config's views.

    The config is that of :class:`SemiSupervised` with all images. Its ``encoder`` is what is trained.

    Source:
        Chen et al. 2020, appendix B.3: the supervised baseline under SimCLR's augmentations.
    """

    def run(self, benchmark: Benchmark) -> Result:
        """Train, evaluate, and return top-1 and top-5 accuracy in percent."""
        if benchmark.encoder.weights is not None:
            raise ConfigError('this config trains from random initialisation: give no CHECKPOINT, but --init '
                              'random')
        check_model(benchmark.config, frozen=False)
        return train_classifier(benchmark).result(benchmark, 'supervised')
