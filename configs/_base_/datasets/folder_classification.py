"""Images of one's own in folders named by their classes, train/CLASS/IMAGE and val/CLASS/IMAGE, to train
classifiers on: random crop and flip at 224 pixels; test: resize 256, centre crop 224.
"""

from mmengine.dataset import DefaultSampler
from mmpretrain.datasets import CustomDataset
from torch.utils.data import default_collate

from mmsimclr.engine import SeededSampler
from mmsimclr.transforms import (
    CenterCrop, LoadImage, PackImage, RandomHorizontalFlip, RandomResizedCrop, RandomView, ResizeShortSide)

dataset_name = 'a folder'
data_root = 'data/images'
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
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=CustomDataset, data_root=data_root, data_prefix='train', pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=CustomDataset, data_root=data_root, data_prefix='val', pipeline=test_pipeline))
