"""Images of several Shapes with their masks in VOC's layout, 64 pixels: 800 to train on, 200 to test on."""

from mmcv.transforms import LoadImageFromFile, RandomFlip
from mmcv.transforms import Resize
from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from mmengine.runner import TestLoop
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs

from mmsimclr.engine import SegmentationMetric

dataset_name = 'Shapes'
data_root = 'data/shapes_voc/VOCdevkit/VOC2007'
metainfo = dict(classes=(
    'background', 'circle', 'square', 'triangle', 'star', 'cross', 'heart', 'hexagon', 'crescent', 'ring',
    'flower'))
data_prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
crop_size = (64, 64)
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations),
    dict(type=Resize, scale=crop_size, keep_ratio=True),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackSegInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=crop_size, keep_ratio=True),
    dict(type=LoadAnnotations),
    dict(type=PackSegInputs),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=BaseSegDataset, data_root=data_root, ann_file='ImageSets/Segmentation/train.txt',
        metainfo=metainfo, data_prefix=data_prefix, pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=BaseSegDataset, data_root=data_root, ann_file='ImageSets/Segmentation/val.txt',
        metainfo=metainfo, data_prefix=data_prefix, pipeline=test_pipeline))
test_evaluator = dict(type=SegmentationMetric)
test_cfg = dict(type=TestLoop)
