"""COCO 2017: train2017 with sides of 640 to 800 pixels, val2017 with 800; AP of boxes and masks."""

from mmcv.transforms import LoadImageFromFile, RandomChoiceResize
from mmdet.datasets import AspectRatioBatchSampler, CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler

from mmsimclr.engine.metrics.coco_metric import COCOMetric

with read_base():
    from .loaders import *

dataset_name = 'COCO'
data_root = 'data/coco/'
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations, with_bbox=True, with_mask=True),
    dict(type=RandomChoiceResize, scales=[(1333, side) for side in range(640, 801, 32)], keep_ratio=True,
         resize_type=Resize),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackDetInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(1333, 800), keep_ratio=True),
    dict(type=PackDetInputs, meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader.update(
    batch_size=2,
    sampler=dict(type=DefaultSampler, shuffle=True),
    batch_sampler=dict(type=AspectRatioBatchSampler),
    dataset=dict(
        type=CocoDataset, data_root=data_root, ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'), filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline))
test_dataloader.update(
    dataset=dict(
        type=CocoDataset, data_root=data_root, ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'), test_mode=True, pipeline=test_pipeline))
test_evaluator = dict(type=COCOMetric, ann_file=f'{data_root}annotations/instances_val2017.json')
