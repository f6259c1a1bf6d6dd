"""Label-free measures of an encoder, as a protocol."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmsimclr.evaluation.health import health
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class Health(Protocol):
    """Measure features without labels: see :func:`mmsimclr.evaluation.health.health`.

    Args:
        images: Config of the images; its pipeline is not used.
        stages: What to measure: 'pooled' is the encoder's output h, 'projection' the head's g(h).
        resize_px, crop_px: As in :class:`~mmsimclr.protocols.KNN`.
    """

    def __init__(self, images: Mapping[str, Any], stages: Sequence[str] = ('pooled',),
                 resize_px: int | None = None, crop_px: int | None = None) -> None:
        self.images, self.stages = images, list(stages)
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features and return the measures of each stage."""
        features = benchmark.features(self.images, self.stages, **self.preparation)
        # A collapsed encoder has no spectrum: what cannot be measured is left out.
        metrics = {f'{stage}_{name}': value for stage in self.stages
                   for name, value in health(features.stages[stage]).items() if math.isfinite(value)}
        return benchmark.result('label-free', metrics, dict(images=len(features)),
                                dict(stages=self.stages, **features.manifest['preparation']))
