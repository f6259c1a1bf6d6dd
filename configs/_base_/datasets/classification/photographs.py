"""Photographs for classifiers: random crop and flip at 224 pixels; test: resize 256, centre crop 224."""

from mmengine.config import read_base

from mmsimclr.transforms import (
    CenterCrop, LoadImage, PackImage, RandomHorizontalFlip, RandomResizedCrop, RandomView, ResizeShortSide)

with read_base():
    from .loaders import *

train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomView, transforms=[
        dict(type=RandomResizedCrop, size=224), dict(type=RandomHorizontalFlip)]),
    dict(type=PackImage),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortSide, size=256),
    dict(type=CenterCrop, size=224),
    dict(type=PackImage),
]
