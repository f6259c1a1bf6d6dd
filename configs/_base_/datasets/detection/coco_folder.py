"""Your own images in COCO's layout, the longer side 320 pixels: train2017 to train on, val2017 to test on."""

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from mmengine.config import read_base

from mmsimclr.engine.metrics.coco_metric import COCOMetric

with read_base():
    from .loaders import *

dataset_name = "a folder in COCO's layout"
data_root = 'data/coco/'
side_px = 320
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations, with_bbox=True, with_mask=True),
    dict(type=Resize, scale=(side_px, side_px), keep_ratio=True),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackDetInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(side_px, side_px), keep_ratio=True),
    dict(type=PackDetInputs, meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader.update(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        type=CocoDataset, data_root=data_root, ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'), pipeline=train_pipeline))
test_dataloader.update(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        type=CocoDataset, data_root=data_root, ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'), test_mode=True, pipeline=test_pipeline))
test_evaluator = dict(type=COCOMetric, ann_file=f'{data_root}annotations/instances_val2017.json')
