"""PASCAL VOC 2007 and 2012 trainval to train on, with sides of 480 to 800 pixels; tested on VOC2007 test."""

from mmdet.datasets import AspectRatioBatchSampler, VOCDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from mmcv.transforms import LoadImageFromFile, RandomChoiceResize
from mmengine.config import read_base
from mmengine.dataset import ConcatDataset

from mmsimclr.engine import VOCBoxMetric

with read_base():
    from .loaders import *

dataset_name = 'VOC2007+2012'
data_root = 'data/VOCdevkit/'
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations, with_bbox=True),
    dict(type=RandomChoiceResize, scales=[(1333, side) for side in range(480, 801, 32)], keep_ratio=True,
         resize_type=Resize),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackDetInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(1333, 800), keep_ratio=True),
    # After the resizing, so that boxes of the truth stay as they are.
    dict(type=LoadAnnotations, with_bbox=True),
    dict(type=PackDetInputs, meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader.update(
    batch_size=2,
    num_workers=2,
    batch_sampler=dict(type=AspectRatioBatchSampler),
    dataset=dict(
        type=ConcatDataset,
        ignore_keys=['dataset_type'],                  # the year, which is not the same
        datasets=[
            dict(type=VOCDataset, data_root=data_root, ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                 data_prefix=dict(sub_data_root=f'VOC{year}/'),
                 filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=train_pipeline)
            for year in (2007, 2012)]))
test_dataloader.update(
    batch_size=1,
    num_workers=2,
    dataset=dict(
        type=VOCDataset, data_root=data_root, ann_file='VOC2007/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2007/'), test_mode=True, pipeline=test_pipeline))
test_evaluator = dict(type=VOCBoxMetric)
