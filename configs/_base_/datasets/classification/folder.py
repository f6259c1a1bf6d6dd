"""Your own images in folders named by their classes, train/CLASS/IMAGE and val/CLASS/IMAGE."""

from mmengine.config import read_base
from mmpretrain.datasets import CustomDataset

with read_base():
    from .photographs import *

dataset_name = 'a folder'
data_root = 'data/images'
train_dataloader.update(
    batch_size=64,
    num_workers=2,
    pin_memory=False,
    dataset=dict(type=CustomDataset, data_root=data_root, data_prefix='train', pipeline=train_pipeline))
test_dataloader.update(
    batch_size=64,
    num_workers=2,
    pin_memory=False,
    dataset=dict(type=CustomDataset, data_root=data_root, data_prefix='val', pipeline=test_pipeline))
