"""A folder in VOC's layout with masks: 128-pixel crops of train to train on; val to test on."""

from mmcv.transforms import LoadImageFromFile, RandomFlip, RandomResize, Resize
from mmengine.config import read_base
from mmseg.datasets import PascalVOCDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs, RandomCrop

from mmsimclr.engine import SegmentationMetric

with read_base():
    from .loaders import *

dataset_name = 'a devkit'
data_root = 'data/VOCdevkit/VOC2012'
_folders = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
crop_size = (128, 128)
longer_side = (256, 256)
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations),
    dict(type=RandomResize, scale=longer_side, ratio_range=(0.75, 1.5), keep_ratio=True, resize_type=Resize),
    dict(type=RandomCrop, crop_size=crop_size, cat_max_ratio=0.75),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackSegInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=longer_side, keep_ratio=True),
    dict(type=LoadAnnotations),
    dict(type=PackSegInputs),
]
train_dataloader.update(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        type=PascalVOCDataset, data_root=data_root, ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=_folders, pipeline=train_pipeline))
test_dataloader.update(
    batch_size=1,
    num_workers=1,
    dataset=dict(
        type=PascalVOCDataset, data_root=data_root, ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=_folders, pipeline=test_pipeline))
test_evaluator = dict(type=SegmentationMetric)
