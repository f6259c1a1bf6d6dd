"""A metric that keeps what it was computed from for each image."""

from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric


class ImageWiseMetric(BaseMetric):
    """A metric of unit-suffixed names, with values by class and rows by image.

    Attributes:
        by_class: Values of each class, by metric; on rank 0, after ``evaluate``.
        rows: Arrays of what was seen in each image, on rank 0, after ``evaluate``; ``images`` are the names.
    """

    default_prefix = ''

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.by_class: dict[str, dict[str, float]] = {}
        self.rows: dict[str, np.ndarray] = {}

    @staticmethod
    def image_name(sample: dict) -> str:
        """Return the name of a sample's image: its file's."""
        return Path(sample['img_path']).name

    def keep_boxes(self, images: list[str], boxes: list, scores: list, labels: list) -> None:
        """Keep each image's detections: boxes [n, 4] as x1, y1, x2, y2 in pixels, scores [n], labels [n]."""
        numbers = np.repeat(np.arange(len(images)), [len(part) for part in scores])
        self.rows = dict(
            images=np.array(images), image=numbers.astype(np.int32),
            boxes=np.concatenate(boxes).reshape(-1, 4).astype(np.float32),
            scores=np.concatenate(scores).astype(np.float32), labels=np.concatenate(labels).astype(np.int16))
