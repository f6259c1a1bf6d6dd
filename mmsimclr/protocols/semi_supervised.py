"""Semi-supervised learning: the whole network trained on the few images that have labels."""

import itertools
from collections.abc import Mapping, Sequence

from mmsimclr.config import ConfigError
from mmsimclr.errors import InputError
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import TrainedClassifier, train_classifier
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class SemiSupervised(Protocol):
    """Fine-tune encoder and classifier on a share of the labelled images.

    The config is that of an MMEngine run: ``model``, a :class:`~mmsimclr.models.Classifier` that is not
    frozen, with one head, ``train_dataloader`` on the share (:class:`~mmsimclr.datasets.ListedSubset` or
    :class:`~mmsimclr.datasets.BalancedSubset`), ``test_dataloader``, ``optim_wrapper``, ``param_scheduler``
    and ``train_cfg``.

    Args:
        labels: The share as it is published, ``'1%'`` or ``'10%'``.
        grid: Learning rates and factors on that of the classifier, ``dict(lr=..., head_lr_multiplier=...)``:
            each pair is trained, and the best is reported. It is chosen on the test, as the published results
            of this kind are, and the result says so. None trains once, as the config says.

    Raises:
        ValueError: If the grid is empty, or has another entry or a number that is not > 0.

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
        model = benchmark.config.get('model') or {}
        if model.get('frozen') or len(model.get('heads') or ()) != 1:
            raise ConfigError('semi-supervised learning trains the whole network under one head: set '
                              'model.frozen=False and name one head in model.heads')
        if not self.points:
            return self._result(benchmark, train_classifier(benchmark), {})
        best, rows = None, []
        for point in self.points:
            trained = self._train(benchmark, **point)
            rows.append({**point, **_metrics(trained)})
            if best is None or rows[-1]['top_1_accuracy_percent'] > best[1]['top_1_accuracy_percent']:
                best = trained, rows[-1]
        chosen = {key: best[1][key] for key in self.points[0]}
        return self._result(benchmark, best[0], dict(grid=rows, chosen=chosen, selected_on='test'))

    @staticmethod
    def _train(benchmark: Benchmark, lr: float, head_lr_multiplier: float) -> TrainedClassifier:
        return train_classifier(benchmark, {
            'optim_wrapper.optimizer.lr': lr,
            'optim_wrapper.paramwise_cfg': dict(custom_keys={'heads': dict(lr_mult=head_lr_multiplier)}),
        }, name=f'lr{lr:g}_head{head_lr_multiplier:g}')

    def _result(self, benchmark: Benchmark, trained: TrainedClassifier, settings: Mapping) -> Result:
        head, = trained.evaluation.ranked
        return benchmark.result(
            f'semi-supervised {self.labels}', _metrics(trained), trained.num_images,
            {**trained.settings, **settings}, trained.evaluation.predictions(head, trained.test_set))


def _metrics(trained: TrainedClassifier) -> dict[str, float]:
    head, = trained.evaluation.ranked
    return trained.evaluation.metrics(head)
