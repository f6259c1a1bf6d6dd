"""Average precision of boxes and masks by COCO's own evaluation; it needs pycocotools."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmsimclr.engine.metrics.image_wise import ImageWiseMetric
from mmsimclr.errors import InputError
from mmsimclr.registry import METRICS

KINDS = {'box': 'bbox', 'mask': 'segm'}


@METRICS.register_module()
class COCOMetric(ImageWiseMetric):
    """AP, AP50 and AP75 of boxes and of masks, in percent.

    Args:
        ann_file: The annotations of the test, ``instances_*.json``.
        kinds: What is measured: 'box', 'mask'.

    Source:
        Lin et al. 2014; pycocotools.
    """

    def __init__(self, ann_file: str, kinds: Sequence[str] = ('box', 'mask'), **arguments) -> None:
        super().__init__(**arguments)
        if not kinds or any(kind not in KINDS for kind in kinds):
            raise InputError(f'kinds must be of {", ".join(KINDS)}, got {list(kinds)}')
        self.ann_file, self.kinds = ann_file, kinds

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            result = dict(self.detections(sample), id=sample['img_id'])
            if 'mask' in self.kinds:
                masks = sample['pred_instances']['masks'].cpu().numpy().astype(np.uint8)         # [n, H, W]
                result['masks'] = [run_lengths.encode(np.asfortranarray(mask)) for mask in masks]
            self.results.append(result)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        self.keep_detections(results)
        self.by_class, metrics, classes = {}, {}, self.dataset_meta['classes']
        with contextlib.redirect_stdout(io.StringIO()):                                # pycocotools prints
            truth = COCO(self.ann_file)
            ids = truth.getCatIds(catNms=list(classes))
            tables = {kind: self._precision(truth, results, kind, ids) for kind in self.kinds}
        for kind, table in tables.items():
            by_class = {name: table[:, :, i] for i, name in enumerate(classes)
                        if table[:, :, i].min(initial=1) >= 0}
            metrics.update(self.mean_precisions(f'{kind}_{{}}_percent', by_class))
        return metrics

    @staticmethod
    def _precision(truth: COCO, results: Sequence[dict], kind: str, ids: Sequence[int]) -> np.ndarray:
        """Return precision by overlap, recall and class, [10, 101, K]; -1 where a class has no objects."""
        found = [_entry(result, i, kind, ids) for result in results for i in range(len(result['scores']))]
        # Without detections pycocotools has nothing to load; it is the empty set, not an error.
        detections = truth.loadRes(found) if found else COCO()
        evaluation = COCOeval(truth, detections, KINDS[kind])
        evaluation.params.catIds = ids
        evaluation.params.imgIds = [result['id'] for result in results]
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval['precision'][:, :, :, 0, -1]                 # all sizes, 100 detections


def _entry(result: dict, i: int, kind: str, ids: Sequence[int]) -> dict:
    entry = dict(image_id=result['id'], score=float(result['scores'][i]),
                 category_id=ids[int(result['labels'][i])])
    if kind == 'mask':
        return {**entry, 'segmentation': result['masks'][i]}
    x1, y1, x2, y2 = map(float, result['boxes'][i])
    return {**entry, 'bbox': [x1, y1, x2 - x1, y2 - y1]}
