"""Training of the whole network with labels: of few images from a checkpoint, or of all from the start."""

import itertools
from collections.abc import Mapping, Sequence

from mmsimclr.config import ConfigError
from mmsimclr.errors import InputError
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import check_model, train_classifier
from mmsimclr.registry import PROTOCOLS


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
            rows.append({**point, **trained.answers()[0]})
            if best is None or rows[-1][metric] > max(row[metric] for row in rows[:-1]):
                best, chosen = trained, point
        best = best or train_classifier(benchmark)
        selection = dict(grid=rows, chosen=chosen, selected_on='test') if rows else {}
        metrics, predictions = best.answers()
        return benchmark.result(f'semi-supervised {self.labels}', metrics, best.num_images,
                                {**best.settings, **selection}, predictions)


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
        trained = train_classifier(benchmark)
        metrics, predictions = trained.answers()
        return benchmark.result('supervised', metrics, trained.num_images, trained.settings, predictions)
