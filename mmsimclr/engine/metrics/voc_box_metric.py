"""Average precision of boxes as PASCAL VOC measures it."""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from mmsimclr.engine.metrics.image_wise_metric import ImageWiseMetric, to_array
from mmsimclr.errors import InputError
from mmsimclr.registry import METRICS

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

    Detections [D, 4] and objects [G, 4] are x1, y1, x2, y2, last pixel included; ``difficult`` [G] objects do
    not count.

    Returns:
        int8 [D, T], for each of ``THRESHOLDS``: 1 is right, 0 is wrong (its object is too far, or another
        detection has it), -1 does not count (its object is difficult).
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
