"""Linear evaluation, on the last feature or on each of five."""

from mmsimclr.config import ConfigError
from mmsimclr.features import describe_stage
from mmsimclr.models import POOLED_FEATURES
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import check_model, train_classifier
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
        trained = train_classifier(benchmark)
        metrics, predictions = trained.answers()
        head, = benchmark.config.model.heads.values()
        feature = dict(feature=describe_stage(head.get('feature', 'pooled')))
        return benchmark.result('linear', metrics, trained.num_images, {**trained.settings, **feature},
                                predictions)


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
        by_head = {head: trained.evaluation.metrics(head) for head in trained.evaluation.ranked}
        best = max(by_head, key=lambda head: by_head[head]['top_1_accuracy_percent'])
        numbered = {head: f'feature_{POOLED_FEATURES.index(head) + 1}' for head in by_head}
        metrics = {f'{numbered[head]}_{name}': value for head, values in by_head.items()
                   for name, value in values.items()}
        return benchmark.result('linear on each feature', metrics, trained.num_images,
                                {**trained.settings, 'predictions_of': numbered[best]},
                                trained.answers(best)[1])
