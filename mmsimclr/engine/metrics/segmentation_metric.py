"""Intersection over union of segmentations, by class and by image."""

from collections.abc import Sequence

import numpy as np

from mmsimclr.engine.metrics.image_wise_metric import ImageWiseMetric
from mmsimclr.errors import InputError
from mmsimclr.registry import METRICS


@METRICS.register_module()
class SegmentationMetric(ImageWiseMetric):
    """mIoU, mean accuracy of the classes and accuracy of the pixels, in percent, over all pixels of a test.

    A class that is neither in the truth nor predicted has no value, and is not in the mean; one that is
    predicted and not in the truth counts 0 for the IoU, and not for the mean accuracy. Pixels with label
    ``ignore_index`` do not count.

    Source:
        Everingham et al. 2010, section 4.3; Long et al. 2015, section 5.
    """

    def __init__(self, ignore_index: int = 255, **arguments) -> None:
        super().__init__(**arguments)
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            predicted, truth = (sample[key]['data'].squeeze().cpu().numpy().astype(np.int64)
                                for key in ('pred_sem_seg', 'gt_sem_seg'))
            counts = truth != self.ignore_index
            predicted, truth = predicted[counts], truth[counts]
            areas = [np.bincount(labels, minlength=num_classes)
                     for labels in (truth[truth == predicted], truth, predicted)]
            self.results.append((self.image_name(sample), np.stack(areas)))

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        areas = np.stack([rows for _, rows in results])                              # [N, 3, C]
        self.rows = dict(images=np.array([name for name, _ in results]), right=areas[:, 0],
                         truth=areas[:, 1], predicted=areas[:, 2])
        right, truth, predicted = areas.sum(axis=0).astype(float)
        if not truth.sum():
            raise InputError('every pixel of the test is to be ignored, so there is no IoU')
        union = truth + predicted - right
        names = self.dataset_meta['classes']
        self.by_class = {
            key: {name: 100 * float(right[i] / whole[i]) for i, name in enumerate(names) if whole[i]}
            for key, whole in (('iou_percent', union), ('accuracy_percent', truth))}
        return dict(
            miou_percent=float(np.mean(list(self.by_class['iou_percent'].values()))),
            mean_class_accuracy_percent=float(np.mean(list(self.by_class['accuracy_percent'].values()))),
            pixel_accuracy_percent=100 * float(right.sum() / truth.sum()))
