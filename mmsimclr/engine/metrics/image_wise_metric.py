"""Base of the metrics that keep, for each image, what they were computed from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from numpy import ndarray

_PRECISIONS = {'ap': slice(None), 'ap50': slice(0, 1), 'ap75': slice(5, 6)}      # of overlaps 0.50, 0.55, ...


class ImageWiseMetric(BaseMetric):
    """A metric of unit-suffixed names; arguments are those of MMEngine's ``BaseMetric``.

    Attributes:
        by_class: Values of each class, by metric; on rank 0, after ``evaluate``.
        rows: Arrays of what was seen in each image, likewise; ``images`` are the names.
    """

    default_prefix = ''

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.by_class: dict[str, dict[str, float]] = {}
        self.rows: dict[str, ndarray] = {}

    @staticmethod
    def image_name(sample: Mapping[str, Any]) -> str:
        return Path(sample['img_path']).name

    @classmethod
    def detections(cls, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return the name of a sample's image, and its boxes [n, 4], scores [n] and labels [n]."""
        found = sample['pred_instances']
        return dict(image=cls.image_name(sample), boxes=to_array(found['bboxes']),
                    scores=to_array(found['scores']), labels=to_array(found['labels']))

    def keep_detections(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Keep each image's detections as ``rows``; boxes are x1, y1, x2, y2 in pixels."""
        images, boxes, scores, labels = ([result[key] for result in results] for key in (
            'image', 'boxes', 'scores', 'labels'))
        numbers = np.repeat(np.arange(len(images)), [len(part) for part in scores])
        self.rows = dict(
            images=np.array(images), image=numbers.astype(np.int32),
            boxes=np.concatenate(boxes).reshape(-1, 4).astype(np.float32),
            scores=np.concatenate(scores).astype(np.float32), labels=np.concatenate(labels).astype(np.int16))

    def mean_precisions(self, name: str, by_class: Mapping[str, ndarray]) -> dict[str, float]:
        """Keep each class's AP, AP50 and AP75 in percent, and return their means over the classes.

        ``name`` is a pattern such as ``'box_{}_percent'``; ``by_class`` are precisions by overlap, [10, ...].
        """
        metrics = {}
        for which, rows in _PRECISIONS.items():
            values = {label: 100 * float(table[rows].mean()) for label, table in by_class.items()}
            self.by_class[name.format(which)] = values
            metrics[name.format(which)] = float(np.mean(list(values.values())))
        return metrics


def to_array(tensor) -> ndarray:
    """Return a tensor's values on the CPU."""
    return tensor.detach().cpu().numpy()
