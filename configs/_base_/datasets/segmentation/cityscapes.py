"""Cityscapes, fine annotations: 2,975 images to train on in 769-pixel crops, mIoU of 19 classes on val."""

from mmcv.transforms import LoadImageFromFile, RandomFlip, RandomResize, Resize
from mmengine.config import read_base
from mmseg.datasets import CityscapesDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs, PhotoMetricDistortion, RandomCrop

from mmsimclr.engine import SegmentationMetric

with read_base():
    from .loaders import *

dataset_name = 'Cityscapes'
data_root = 'data/cityscapes/'
crop_size = (769, 769)
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations),
    dict(type=RandomResize, scale=(2049, 1025), ratio_range=(0.5, 2.0), keep_ratio=True, resize_type=Resize),
    dict(type=RandomCrop, crop_size=crop_size, cat_max_ratio=0.75),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PhotoMetricDistortion),
    dict(type=PackSegInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(2049, 1025), keep_ratio=True),
    dict(type=LoadAnnotations),
    dict(type=PackSegInputs),
]
train_dataloader.update(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type=CityscapesDataset, data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'), pipeline=train_pipeline))
test_dataloader.update(
    batch_size=1,
    num_workers=4,
    dataset=dict(
        type=CityscapesDataset, data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'), pipeline=test_pipeline))
test_evaluator = dict(type=SegmentationMetric)
