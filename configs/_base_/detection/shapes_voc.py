"""Images of several Shapes in VOC's layout, 64 pixels: 800 to train on, 200 to test on."""

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import XMLDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, RandomFlip, Resize
from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from mmengine.runner import TestLoop

from mmsimclr.engine import VOCBoxMetric

dataset_name = 'Shapes'
data_root = 'data/shapes_voc/VOCdevkit/VOC2007'
metainfo = dict(classes=(
    'circle', 'square', 'triangle', 'star', 'cross', 'heart', 'hexagon', 'crescent', 'ring', 'flower'))
side_px = 64
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
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=XMLDataset, data_root=data_root, ann_file='ImageSets/Main/train.txt', metainfo=metainfo,
        data_prefix=dict(sub_data_root=''), pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=XMLDataset, data_root=data_root, ann_file='ImageSets/Main/val.txt', metainfo=metainfo,
        data_prefix=dict(sub_data_root=''), test_mode=True, pipeline=test_pipeline))
test_evaluator = dict(type=VOCBoxMetric)
test_cfg = dict(type=TestLoop)
