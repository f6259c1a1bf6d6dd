"""ImageNet-1k with the paper's policy: strength 1, its crops, blur, 224 pixels; online measures."""

from mmengine.config import read_base
from mmpretrain.datasets import ImageNet

from mmsimclr.engine import OnlineKNNHook, RepresentationHealthHook
from mmsimclr.transforms import (
    CenterCrop, LoadImage, MultiView, PackImage, PackViews, ResizeShortSide, SimCLRView)

with read_base():
    from ..train_loader import *

data_root = 'data/imagenet'
view = dict(type=SimCLRView, size=224, strength=1.0, blur=True, crop_style='official')
train_pipeline = [
    dict(type=LoadImage),
    dict(type=MultiView, num_views=2, transforms=[view]),
    dict(type=PackViews),
]
train_dataloader.update(
    batch_size=32,
    dataset=dict(type=ImageNet, data_root=data_root, split='train', pipeline=train_pipeline))

# For a leaf to add to custom_hooks: 50,000 training images are the bank, 10,000 of val the queries.
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortSide, size=256),
    dict(type=CenterCrop, size=224),
    dict(type=PackImage),
]
online_knn = dict(
    type=OnlineKNNHook,
    interval=10,
    num_workers=8,
    bank=dict(type=ImageNet, data_root=data_root, split='train', pipeline=test_pipeline),
    queries=dict(type=ImageNet, data_root=data_root, split='val', pipeline=test_pipeline))
health = dict(type=RepresentationHealthHook, interval=10, num_images=2048, held_out=dict(split='val'))
