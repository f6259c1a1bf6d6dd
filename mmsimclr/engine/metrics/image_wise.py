"""Metrics of boxes and segmentations that keep, for each image, what they were computed from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from numpy import ndarray

from mmsimclr.errors import InputError
from mmsimclr.registry import METRICS

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
    def detections(sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return the name of a sample's image, and its boxes [n, 4], scores [n] and labels [n]."""
        found = sample['pred_instances']
        return dict(image=Path(sample['img_path']).name, boxes=to_array(found['bboxes']),
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
            self.results.append((Path(sample['img_path']).name, np.stack(areas)))

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


THRESHOLDS = tuple(np.arange(50, 100, 5) / 100)


@METRICS.register_module()
class VOCBoxMetric(ImageWiseMetric):
    """AP, AP50 and AP75 of boxes in percent, by 11 points as in VOC2007; ``_area`` by area as later.

    AP is the mean over the overlaps 0.50, 0.55, ..., 0.95, as in COCO. Boxes include their last pixel.
    Objects marked as difficult count neither way. A class without objects has no value, and is in no mean.

    Source:
        Everingham et al. 2010, section 4.2, and the development kit; Lin et al. 2014.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            objects, ignored = ({key: to_array(sample[kind][key]) for key in ('bboxes', 'labels')}
                                for kind in ('gt_instances', 'ignored_instances'))
            self.results.append(dict(
                self.detections(sample), truth=np.concatenate([objects['bboxes'], ignored['bboxes']]),
                truth_labels=np.concatenate([objects['labels'], ignored['labels']]),
                difficult=np.repeat([False, True], [len(objects['labels']), len(ignored['labels'])])))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        self.keep_detections(results)
        self.by_class = {}
        values = {name: aps for label, name in enumerate(self.dataset_meta['classes'])
                  if (aps := _class_precision(results, label)) is not None}          # each [10, 2]
        if not values:
            raise InputError('the test has no objects, so there is no average precision')
        return {**self.mean_precisions('{}_percent', {name: aps[:, 0] for name, aps in values.items()}),
                **self.mean_precisions('{}_area_percent', {name: aps[:, 1] for name, aps in values.items()})}


def _class_precision(results: Sequence[dict], label: int) -> ndarray | None:
    scores, hits, num_objects = [], [], 0
    for result in results:
        of_class, objects = result['labels'] == label, result['truth_labels'] == label
        difficult = result['difficult'][objects]
        num_objects += int((~difficult).sum())
        order = np.argsort(-result['scores'][of_class], kind='stable')
        scores.append(result['scores'][of_class][order])
        hits.append(match_detections(result['boxes'][of_class][order], result['truth'][objects], difficult))
    if not num_objects:
        return None
    order = np.argsort(-np.concatenate(scores), kind='stable')
    hits = np.concatenate(hits)[order]
    return np.array([eleven_point_and_area(column[column >= 0], num_objects) for column in hits.T])


def match_detections(boxes: ndarray, truth: ndarray, difficult: ndarray) -> ndarray:
    """Match the detections of one class in one image, the surest first, with the objects.

    Detections [D, 4] and objects [G, 4] are x1, y1, x2, y2, last pixel included. Return int8 [D, T], for each
    of ``THRESHOLDS``: 1 is right, 0 is wrong (its object is too far, or another detection has it), -1 does
    not count (its object is ``difficult`` [G]).
    """
    hits = np.zeros((len(boxes), len(THRESHOLDS)), dtype=np.int8)
    if not len(truth) or not len(boxes):
        return hits
    overlaps = _overlaps(boxes, truth)                                                    # [D, G]
    nearest = overlaps.argmax(axis=1)
    for column, threshold in enumerate(THRESHOLDS):
        fits = np.flatnonzero(overlaps[np.arange(len(boxes)), nearest] >= threshold)
        counts = fits[~difficult[nearest[fits]]]
        _, first = np.unique(nearest[counts], return_index=True)
        hits[np.setdiff1d(fits, counts), column] = -1
        hits[counts[first], column] = 1
    return hits


def _overlaps(boxes: ndarray, truth: ndarray) -> ndarray:
    corner = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    side = np.minimum(boxes[:, None, 2:], truth[None, :, 2:]) - corner + 1
    common = side.clip(min=0).prod(axis=2)
    areas = [(some[:, 2:] - some[:, :2] + 1).prod(axis=1) for some in (boxes, truth)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def eleven_point_and_area(hits: ndarray, num_objects: int) -> tuple[float, float]:
    """Return the average precision at recalls 0, 0.1, ..., 1, and as area under the interpolated curve.

    ``hits`` [D] are 1 where a detection is right, 0 where not, the surest first.
    """
    right = np.cumsum(hits)
    recall, precision = right / num_objects, right / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    points = [best_from_here[recall >= point / 10].max(initial=0) for point in range(11)]
    return float(np.mean(points)), float((np.diff(recall, prepend=0) * best_from_here).sum())
