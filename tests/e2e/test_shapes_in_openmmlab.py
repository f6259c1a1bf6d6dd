"""mmdet and mmseg read what tools/prepare_data/shapes.py writes, box for box and mask for mask."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope

from mmsimclr.datasets import Shapes
from mmsimclr.prepare.shapes import write_coco, write_voc

mmdet_datasets = pytest.importorskip('mmdet.datasets', reason='needs mmdet (tools/install.sh full)')
mmseg_datasets = pytest.importorskip('mmseg.datasets', reason='needs mmseg (tools/install.sh full)')


@pytest.fixture(scope='module')
def shapes():
    return Shapes(num_images=6, image_size=64, split='train', objects='multi', max_objects=3)


def sorted_rows(boxes, labels):
    return sorted((*map(float, box), int(label)) for box, label in zip(boxes, labels, strict=True))


def test_mmdet_reads_the_voc_layout(shapes, tmp_path):
    folder = write_voc({'train': shapes}, tmp_path / 'out')
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = mmdet_datasets.XMLDataset(
            data_root=str(folder), ann_file='ImageSets/Main/train.txt', data_prefix=dict(sub_data_root=''),
            metainfo=dict(classes=shapes.classes), pipeline=[])
        assert len(dataset) == len(shapes)
        for index in range(len(shapes)):
            instances = dataset.get_data_info(index)['instances']
            want = shapes.render(index)
            # mmdet takes 1 off every coordinate; the last pixel inside becomes its index.
            boxes = np.array([instance['bbox'] for instance in instances]) + np.array([0, 0, 1, 1])
            assert sorted_rows(boxes, [i['bbox_label'] for i in instances]) == \
                sorted_rows(want.boxes, want.labels)
            assert not any(instance['ignore_flag'] for instance in instances)


def test_mmdet_reads_the_coco_layout_with_its_masks(shapes, tmp_path):
    folder = write_coco({'train': shapes}, tmp_path / 'out')
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = mmdet_datasets.CocoDataset(
            data_root=str(folder), ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'), metainfo=dict(classes=shapes.classes),
            pipeline=[dict(type='LoadImageFromFile'),
                      dict(type='LoadAnnotations', with_bbox=True, with_mask=True, box_type=None)])
        assert len(dataset) == len(shapes)
        for index in range(len(shapes)):
            item, want = dataset[index], shapes.render(index)
            assert sorted_rows(item['gt_bboxes'], item['gt_bboxes_labels']) == \
                sorted_rows(want.boxes, want.labels)
            got = np.zeros_like(want.seg_map)
            for mask, label in zip(item['gt_masks'].masks, item['gt_bboxes_labels'], strict=True):
                got[mask.astype(bool)] = label + 1
            np.testing.assert_array_equal(got, want.seg_map)


def test_mmseg_reads_the_voc_layout(shapes, tmp_path):
    folder = write_voc({'train': shapes}, tmp_path / 'out')
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = mmseg_datasets.BaseSegDataset(
            data_root=str(folder), ann_file='ImageSets/Segmentation/train.txt', img_suffix='.jpg',
            seg_map_suffix='.png', data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
            metainfo=dict(classes=('background', *shapes.classes)), reduce_zero_label=False,
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
        assert len(dataset) == len(shapes)
        for index in range(len(shapes)):
            item = dataset[index]
            np.testing.assert_array_equal(item['gt_seg_map'], shapes.render(index).seg_map)
            assert item['img'].shape == (64, 64, 3)
