"""Shapes, the built-in images, to train classifiers on: 32 pixels, random flips."""

from mmengine.config import read_base

from mmsimclr.datasets import Shapes
from mmsimclr.transforms import PackImage, RandomHorizontalFlip, RandomView

with read_base():
    from .loaders import *

dataset_name = 'Shapes'
train_pipeline = [
    dict(type=RandomView, transforms=[dict(type=RandomHorizontalFlip)]),
    dict(type=PackImage),
]
train_dataloader.update(
    batch_size=128,
    num_workers=1,
    pin_memory=False,
    dataset=dict(type=Shapes, num_images=4_000, split='train', pipeline=train_pipeline))
test_dataloader.update(
    batch_size=256,
    num_workers=1,
    pin_memory=False,
    dataset=dict(type=Shapes, num_images=2_000, split='test', pipeline=[dict(type=PackImage)]))
