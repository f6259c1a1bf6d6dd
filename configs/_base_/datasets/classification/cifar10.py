"""CIFAR-10 to train classifiers on: random crop and flip at 32 pixels; test: the images as they are."""

from mmengine.config import read_base

from mmsimclr.datasets import CIFAR10
from mmsimclr.transforms import PackImage, RandomHorizontalFlip, RandomResizedCrop, RandomView

with read_base():
    from .loaders import *

dataset_name = 'CIFAR-10'
data_root = 'data/cifar10'
train_pipeline = [
    dict(type=RandomView, transforms=[
        dict(type=RandomResizedCrop, size=32), dict(type=RandomHorizontalFlip)]),
    dict(type=PackImage),
]
train_dataloader.update(
    batch_size=512,
    dataset=dict(type=CIFAR10, data_root=data_root, split='train', pipeline=train_pipeline))
test_dataloader.update(
    batch_size=512,
    dataset=dict(type=CIFAR10, data_root=data_root, split='test', pipeline=[dict(type=PackImage)]))
