"""ImageNet-1k to train classifiers on."""

from mmengine.config import read_base
from mmpretrain.datasets import ImageNet

with read_base():
    from .photographs import *

dataset_name = 'ImageNet-1k'
data_root = 'data/imagenet'
train_dataloader.update(
    batch_size=128,
    dataset=dict(type=ImageNet, data_root=data_root, split='train', pipeline=train_pipeline))
test_dataloader.update(
    batch_size=128,
    dataset=dict(type=ImageNet, data_root=data_root, split='val', pipeline=test_pipeline))
