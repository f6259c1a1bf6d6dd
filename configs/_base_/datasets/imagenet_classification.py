"""ImageNet-1k to train classifiers on: random crop and flip; test: resize 256, centre crop 224."""

from mmengine.dataset import DefaultSampler
from mmpretrain.datasets import ImageNet
from torch.utils.data import default_collate

from mmsimclr.engine import SeededSampler
from mmsimclr.transforms import (
    CenterCrop, LoadImage, PackImage, RandomHorizontalFlip, RandomResizedCrop, RandomView, ResizeShortSide)

dataset_name = 'ImageNet-1k'
data_root = 'data/imagenet'
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
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ImageNet, data_root=data_root, split='train', pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    pin_memory=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ImageNet, data_root=data_root, split='val', pipeline=test_pipeline))
