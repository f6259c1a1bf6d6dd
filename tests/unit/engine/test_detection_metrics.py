"""Average precision of boxes and masks, and IoU of segmentations, against other implementations."""

import json

import numpy as np
import pytest
import torch

from mmsimclr.engine.metrics import SegmentationMetric, VOCBoxMetric, eleven_point_and_area, match_detections
from mmsimclr.engine.metrics.image_wise import THRESHOLDS

CLASSES = ('cat', 'dog', 'bird')


def boxes_of(generator, count, side=60):
    corner = generator.uniform(0, side, (count, 2))
    return np.hstack([corner, corner + generator.uniform(8, 40, (count, 2))]).round()


def scenes(num_images=12, seed=0):
    """Return made-up truth and detections, some near the truth."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(num_images):
        truth = boxes_of(generator, generator.integers(0, 6))
        labels = generator.integers(0, 2, len(truth))                       # no bird in the truth
        near = truth[generator.random(len(truth)) < 0.8]
        near = np.repeat(near, 2, axis=0) + generator.normal(0, 3, (2 * len(near), 4))
        boxes = np.concatenate([near, boxes_of(generator, 3)])
        found.append(dict(
            img_path=f'/data/{number:03d}.jpg', truth=truth, truth_labels=labels,
            difficult=generator.random(len(truth)) < 0.25, boxes=boxes,
            scores=generator.permutation(1000)[:len(boxes)] / 1000,
            labels=generator.integers(0, 3, len(boxes))))
    return found


def sample(scene):
    def part(keep):
        return dict(bboxes=torch.tensor(scene['truth'][keep]),
                    labels=torch.tensor(scene['truth_labels'][keep]))
    return dict(
        img_path=scene['img_path'], gt_instances=part(~scene['difficult']),
        ignored_instances=part(scene['difficult']), pred_instances=dict(
            bboxes=torch.tensor(scene['boxes']), scores=torch.tensor(scene['scores']),
            labels=torch.tensor(scene['labels'])))


def measured(scenes):
    metric = VOCBoxMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    for start in range(0, len(scenes), 5):
        metric.process({}, [sample(scene) for scene in scenes[start:start + 5]])
    return metric, metric.evaluate(len(scenes))


@pytest.mark.parametrize(('mode', 'way'), [('11points', ''), ('area', '_area')])
def test_average_precision_is_mmdet_s(mode, way):
    mean_ap = pytest.importorskip('mmdet.evaluation.functional.mean_ap', reason='needs mmdet')
    found = scenes()
    metric, values = measured(found)
    detections, annotations = [], []
    for scene in found:
        rows = np.hstack([scene['boxes'], scene['scores'][:, None]])
        detections.append([rows[scene['labels'] == label] for label in range(3)])
        keep = ~scene['difficult']
        annotations.append(dict(
            bboxes=scene['truth'][keep], labels=scene['truth_labels'][keep],
            bboxes_ignore=scene['truth'][~keep], labels_ignore=scene['truth_labels'][~keep]))
    aps = {}
    for threshold in THRESHOLDS:
        by_class = [mean_ap.eval_map(
            [[image[label]] for image in detections],
            [{**part, 'labels': np.where(part['labels'] == label, 0, -5),
              'labels_ignore': np.where(part['labels_ignore'] == label, 0, -5)} for part in annotations],
            iou_thr=float(threshold), eval_mode=mode, use_legacy_coordinate=True, logger='silent', nproc=1)[0]
            for label in range(2)]
        aps[threshold] = 100 * np.array(by_class)
    table = np.array(list(aps.values()))                                                       # [10, 2]
    assert values[f'ap{way}_percent'] == pytest.approx(table.mean(), abs=1e-4)
    assert values[f'ap50{way}_percent'] == pytest.approx(table[0].mean(), abs=1e-4)
    assert values[f'ap75{way}_percent'] == pytest.approx(table[5].mean(), abs=1e-4)
    assert 1 < table[5].mean() < table[0].mean() < 95
    assert metric.by_class[f'ap50{way}_percent'] == pytest.approx(
        dict(zip(('cat', 'dog'), table[0], strict=True)), abs=1e-4)


def test_hand_computed_precision():
    # right, wrong, right of 4 objects: recall 1/4, 1/4, 1/2; precision 1, 1/2, 2/3.
    eleven, area = eleven_point_and_area(np.array([1, 0, 1]), 4)
    assert eleven == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)                   # recall 0 to 0.2; 0.3 to 0.5
    assert area == pytest.approx(1 / 4 * 1 + 1 / 4 * 2 / 3)
    assert eleven_point_and_area(np.array([], dtype=int), 4) == (0, 0)
    # A recall of 3 of 10 reaches the point 0.3.
    assert eleven_point_and_area(np.array([1, 1, 1]), 10)[0] == pytest.approx(4 / 11)


def test_the_surer_detection_has_the_object_and_difficult_ones_count_neither_way():
    truth = np.array([[0, 0, 9, 9], [50, 50, 69, 69.]])
    boxes = np.array([[0, 0, 9, 8], [0, 0, 9, 9], [50, 50, 69, 69], [30, 0, 39, 9.]])
    hits = match_detections(boxes, truth, np.array([False, True]))
    np.testing.assert_array_equal(hits[:, 0], [1, 0, -1, 0])
    np.testing.assert_array_equal(hits[:, -1], [0, 1, -1, 0])                 # 0.9 is not 0.95


def test_detections_are_kept_for_each_image():
    found = scenes(4)
    metric, _ = measured(found)
    assert metric.rows['images'].tolist() == ['000.jpg', '001.jpg', '002.jpg', '003.jpg']
    for number, scene in enumerate(found):
        rows = metric.rows['image'] == number
        np.testing.assert_allclose(metric.rows['boxes'][rows], scene['boxes'], rtol=1e-6)
        np.testing.assert_array_equal(metric.rows['labels'][rows], scene['labels'])


def test_a_test_without_objects_is_refused():
    found = scenes(2)
    for scene in found:
        scene.update(truth=np.zeros((0, 4)), truth_labels=np.zeros(0, int), difficult=np.zeros(0, bool))
    with pytest.raises(ValueError, match='no objects'):
        measured(found)


def segmentation(predicted, truth):
    metric = SegmentationMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    for number, pair in enumerate(zip(predicted, truth, strict=True)):
        data = [dict(data=torch.tensor(labels)[None]) for labels in pair]
        metric.process({}, [dict(img_path=f'{number}.png', pred_sem_seg=data[0], gt_sem_seg=data[1])])
    return metric, metric.evaluate(len(truth))


def test_iou_and_accuracies_are_those_of_a_count_of_pixels():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, (5, 7, 9))
    predicted = np.where(generator.random(truth.shape) < 0.7, truth, generator.integers(0, 3, truth.shape))
    truth[generator.random(truth.shape) < 0.2] = 255
    metric, values = segmentation(predicted, truth)
    counted = [(int(p), int(t)) for p, t in zip(predicted.ravel(), truth.ravel(), strict=True) if t != 255]
    ious, accuracies = [], []
    for label in range(3):
        both = sum(p == t == label for p, t in counted)
        ious.append(100 * both / sum(label in pair for pair in counted))
        accuracies.append(100 * both / sum(t == label for _, t in counted))
    assert values == pytest.approx(dict(
        miou_percent=np.mean(ious), mean_class_accuracy_percent=np.mean(accuracies),
        pixel_accuracy_percent=100 * np.mean([p == t for p, t in counted])))
    assert metric.by_class['iou_percent'] == pytest.approx(dict(zip(CLASSES, ious, strict=True)))
    assert metric.rows['truth'].shape == (5, 3) and metric.rows['truth'].sum() == len(counted)


def test_a_class_that_is_nowhere_has_no_iou_and_one_only_predicted_has_none():
    truth = np.zeros((1, 2, 2), int)
    metric, values = segmentation(truth, truth)
    assert metric.by_class['iou_percent'] == {'cat': 100.0} and values['miou_percent'] == 100
    metric, values = segmentation(np.array([[[0, 0], [0, 1]]]), truth)
    assert metric.by_class['iou_percent'] == {'cat': 75.0, 'dog': 0.0}
    assert values['miou_percent'] == 37.5 and values['mean_class_accuracy_percent'] == 75
    with pytest.raises(ValueError, match='every pixel'):
        segmentation(truth, truth + 255)


@pytest.fixture
def coco_file(tmp_path):
    """Write two images, three squares of two categories, with masks."""
    def square(number, image, category, x, y, side):
        return dict(id=number, image_id=image, category_id=category, bbox=[x, y, side, side], iscrowd=0,
                    area=side * side, segmentation=[[x, y, x + side, y, x + side, y + side, x, y + side]])
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=number, file_name=f'{number}.jpg', width=100, height=80) for number in (7, 9)],
        categories=[dict(id=3, name='cat'), dict(id=5, name='dog'), dict(id=6, name='bird')],
        annotations=[square(1, 7, 3, 10, 10, 20), square(2, 7, 5, 50, 20, 40), square(3, 9, 3, 0, 0, 30)])))
    return path


def coco_values(path, detections):
    """Return the metric's values; detections are (image, label, score, box), their masks the full boxes."""
    module = pytest.importorskip('mmsimclr.engine.metrics.coco_metric', reason='needs pycocotools')
    metric = module.COCOMetric(str(path))
    metric.dataset_meta = dict(classes=CLASSES)
    for number in (7, 9):
        rows = [row for row in detections if row[0] == number]
        masks = torch.zeros(len(rows), 80, 100, dtype=torch.bool)
        for mask, (_, _, _, (x1, y1, x2, y2)) in zip(masks, rows, strict=True):
            mask[y1:y2, x1:x2] = True
        metric.process({}, [dict(img_path=f'{number}.jpg', img_id=number, pred_instances=dict(
            bboxes=torch.tensor([row[3] for row in rows], dtype=torch.float).reshape(-1, 4),
            scores=torch.tensor([row[2] for row in rows]), masks=masks,
            labels=torch.tensor([row[1] for row in rows], dtype=torch.long)))])
    return metric, metric.evaluate(2)


def test_coco_s_precision_of_perfect_partial_and_no_detections(coco_file):
    perfect = [(7, 0, 0.9, (10, 10, 30, 30)), (7, 1, 0.8, (50, 20, 90, 60)), (9, 0, 0.7, (0, 0, 30, 30))]
    metric, values = coco_values(coco_file, perfect)
    assert values == pytest.approx({f'{kind}_{name}_percent': 100 for kind in ('box', 'mask')
                                    for name in ('ap', 'ap50', 'ap75')})
    assert set(metric.by_class['box_ap_percent']) == {'cat', 'dog'}, 'there is no bird'
    # The dog's box is 40 wide and 29 high: an overlap of 0.725, which fits at 0.50 to 0.70 only.
    metric, values = coco_values(coco_file, [*perfect[::2], (7, 1, 0.8, (50, 20, 90, 49))])
    assert metric.by_class['mask_ap_percent']['dog'] == pytest.approx(50)
    assert values['box_ap50_percent'] == pytest.approx(100)
    assert values['box_ap75_percent'] == pytest.approx(50)
    # Labels are the metric's classes, not the file's categories: exchanged, nothing is right.
    _, values = coco_values(coco_file, [(7, 1, 0.9, (10, 10, 30, 30)), (7, 2, 0.8, (50, 20, 90, 60))])
    assert values['box_ap_percent'] == 0
    _, values = coco_values(coco_file, [])
    assert set(values.values()) == {0}


def test_an_unknown_kind_is_refused():
    module = pytest.importorskip('mmsimclr.engine.metrics.coco_metric', reason='needs pycocotools')
    with pytest.raises(ValueError, match='kinds must be of box, mask'):
        module.COCOMetric('x.json', kinds=['boxes'])
