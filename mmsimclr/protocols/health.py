"""Label-free measures of an encoder, as a protocol."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsimclr.errors import InputError
from mmsimclr.evaluation.health import health
from mmsimclr.protocols.base import Benchmark, Protocol
from mmsimclr.protocols.result import Result
from mmsimclr.protocols.transform_prediction import transformed_features
from mmsimclr.registry import PROTOCOLS


@PROTOCOLS.register_module()
class Health(Protocol):
    """Measure features without labels: see :func:`mmsimclr.evaluation.health.health`.

    Args:
        images: Config of the images; its pipeline is not used.
        stages: What to measure: 'pooled' is the encoder's output h, 'projection' the head's g(h).
        view: A random transform. With it LiDAR and alignment are measured too, on ``num_views`` views of each
            of ``num_view_images`` evenly spaced images, both >= 2.
        resize_px, crop_px: As in :class:`~mmsimclr.protocols.KNN`.
    """

    def __init__(self, images: Mapping[str, Any], stages: Sequence[str] = ('pooled',),
                 view: Mapping[str, Any] | None = None, num_views: int = 8, num_view_images: int = 256,
                 resize_px: int | None = None, crop_px: int | None = None) -> None:
        if min(num_views, num_view_images) < 2:
            raise InputError('num_views and num_view_images must be >= 2, got '
                             f'{num_views} and {num_view_images}')
        self.images, self.stages, self.view = images, list(stages), view
        self.num_views, self.num_view_images = num_views, num_view_images
        self.preparation = dict(resize_px=resize_px, crop_px=crop_px)

    def run(self, benchmark: Benchmark) -> Result:
        """Extract features and return the measures of each stage."""
        features = benchmark.features(self.images, self.stages, **self.preparation)
        views = self._views(benchmark)
        # A collapsed encoder has no spectrum: what cannot be measured is left out.
        metrics = {f'{stage}_{name}': value for stage in self.stages
                   for name, value in health(features.stages[stage], views.get(stage)).items()
                   if math.isfinite(value)}
        return benchmark.result('label-free', metrics, dict(images=len(features)), dict(
            stages=self.stages, **features.manifest['preparation'],
            **(dict(view=repr(self.view), num_views=self.num_views) if self.view else {})))

    def _views(self, benchmark: Benchmark) -> dict[str, np.ndarray]:
        """Return features of views, [N, V, D], by stage."""
        if self.view is None:
            return {}
        parts = [transformed_features(
            benchmark, self.stages, self.preparation, dataset=self.images, seed=number,
            classes=dict(view=(1.0, self.view)), num_images=self.num_view_images)
            for number in range(self.num_views)]
        return {stage: np.stack([part.stages[stage] for part in parts], axis=1) for stage in self.stages}
