"""A folder in VOC's layout, the longer side 320 pixels: train to train on, val to test on; VOC's classes."""

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import XMLDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from mmengine.config import read_base

from mmsimclr.datasets.published import VOC_CLASSES
from mmsimclr.engine import VOCBoxMetric

with read_base():
    from .loaders import *

dataset_name = 'a devkit'
data_root = 'data/VOCdevkit/VOC2012'
metainfo = dict(classes=VOC_CLASSES)
side_px = 320
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations, with_bbox=True),
    dict(type=Resize, scale=(side_px, side_px), keep_ratio=True),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackDetInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(side_px, side_px), keep_ratio=True),
    dict(type=LoadAnnotations, with_bbox=True),
    dict(type=PackDetInputs, meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader.update(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        type=XMLDataset, data_root=data_root, ann_file='ImageSets/Main/train.txt', metainfo=metainfo,
        data_prefix=dict(sub_data_root=''), pipeline=train_pipeline))
test_dataloader.update(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        type=XMLDataset, data_root=data_root, ann_file='ImageSets/Main/val.txt', metainfo=metainfo,
        data_prefix=dict(sub_data_root=''), test_mode=True, pipeline=test_pipeline))
test_evaluator = dict(type=VOCBoxMetric)
