"""CamVid: 367 street scenes to train on in 128-pixel crops, 101 to test on; 11 classes.

Layout: {train,val}/*.jpg and {train,val}annot/*.png, whose values are 0 to 10, and 11 for pixels of no class.
"""

from mmcv.transforms import LoadImageFromFile, RandomFlip, RandomResize
from mmcv.transforms import Resize
from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from mmengine.runner import TestLoop
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs, RandomCrop

from mmsimclr.engine import SegmentationMetric

dataset_name = 'CamVid'
data_root = 'data/camvid'
metainfo = dict(classes=(
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian', 'bicyclist'))
no_class = 11
crop_size = (128, 128)
longer_side = (256, 256)
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations),
    dict(type=RandomResize, scale=longer_side, ratio_range=(0.75, 1.5), keep_ratio=True, resize_type=Resize),
    dict(type=RandomCrop, crop_size=crop_size, cat_max_ratio=0.75, ignore_index=no_class),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackSegInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=longer_side, keep_ratio=True),
    dict(type=LoadAnnotations),
    dict(type=PackSegInputs),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=BaseSegDataset, data_root=data_root, metainfo=metainfo, ignore_index=no_class,
        data_prefix=dict(img_path='train', seg_map_path='trainannot'), pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=BaseSegDataset, data_root=data_root, metainfo=metainfo, ignore_index=no_class,
        data_prefix=dict(img_path='val', seg_map_path='valannot'), pipeline=test_pipeline))
test_evaluator = dict(type=SegmentationMetric, ignore_index=no_class)
test_cfg = dict(type=TestLoop)
