"""What trains on the datasets of transfer benchmarks: batches of 256; random crop and flip, test 256/224."""

from mmengine.dataset import DefaultSampler
from torch.utils.data import default_collate

from mmsimclr.engine import SeededSampler
from mmsimclr.transforms import (
    CenterCrop, LoadImage, PackImage, RandomHorizontalFlip, RandomResizedCrop, RandomView, ResizeShortSide)

train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomView, transforms=[
        dict(type=RandomResizedCrop, size=224),
        dict(type=RandomHorizontalFlip),
    ]),
    dict(type=PackImage),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortSide, size=256),
    dict(type=CenterCrop, size=224),
    dict(type=PackImage),
]
# The protocol puts the datasets in.
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate))
test_dataloader = dict(
    batch_size=256,
    num_workers=8,
    pin_memory=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate))
