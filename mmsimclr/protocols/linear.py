"""Linear evaluation: a classifier trained on an encoder that stays as it is."""

from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.training import require_frozen, train_classifier
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class LinearEvaluation(Protocol):
    """Train one linear classifier on the frozen encoder's last map, averaged over its positions.

    The config is that of an MMEngine run: ``model``, a frozen :class:`~mmsimclr.models.Classifier` with one
    head, ``train_dataloader``, ``test_dataloader``, ``optim_wrapper``, ``param_scheduler`` and ``train_cfg``.

    Source:
        Chen et al. 2020, sections 2.3 and B.6.
    """

    def run(self, benchmark: Benchmark) -> Result:
        """Train, evaluate, and return top-1 and top-5 accuracy in percent."""
        require_frozen(benchmark.config, num_heads=1)
        trained = train_classifier(benchmark)
        head, = trained.evaluation.ranked
        return benchmark.result(
            'linear', trained.evaluation.metrics(head), trained.num_images, trained.settings,
            trained.evaluation.predictions(head, trained.test_set))
