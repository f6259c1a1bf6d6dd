"""ImageNet-1k with the paper's policy: strength 1, bicubic crops, blur, 224 pixels."""

from mmpretrain.datasets import ImageNet
from torch.utils.data import default_collate

from mmsimclr.engine import OnlineKNNHook, SeededSampler
from mmsimclr.transforms import (
    CenterCrop, LoadImage, MultiView, PackImage, PackViews, ResizeShortSide, SimCLRView)

data_root = 'data/imagenet'
view = dict(type=SimCLRView, size=224, strength=1.0, blur=True)
train_pipeline = [
    dict(type=LoadImage),
    dict(type=MultiView, num_views=2, transforms=[view]),
    dict(type=PackViews),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ImageNet, data_root=data_root, split='train', pipeline=train_pipeline))

# To be appended to custom_hooks: 50,000 training images are the bank, 10,000 of val the queries.
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
