"""CIFAR-10 to train classifiers on: random crop and flip at 32 pixels; test: the images as they are."""

from mmengine.dataset import DefaultSampler
from torch.utils.data import default_collate

from mmsimclr.datasets import CIFAR10
from mmsimclr.engine import SeededSampler
from mmsimclr.transforms import PackImage, RandomHorizontalFlip, RandomResizedCrop, RandomView

dataset_name = 'CIFAR-10'
data_root = 'data/cifar10'
train_pipeline = [
    dict(type=RandomView, transforms=[
        dict(type=RandomResizedCrop, size=32), dict(type=RandomHorizontalFlip)]),
    dict(type=PackImage),
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=CIFAR10, data_root=data_root, split='train', pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=512,
    num_workers=8,
    pin_memory=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=CIFAR10, data_root=data_root, split='test', pipeline=[dict(type=PackImage)]))
