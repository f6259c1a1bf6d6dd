"""ImageNet-1k with the paper's policy: strength 1, bicubic crops, blur, 224 pixels."""

from mmpretrain.datasets import ImageNet
from torch.utils.data import default_collate

from mmsimclr.engine import SeededSampler
from mmsimclr.transforms import (
    ColorJitter, GaussianBlur, LoadImage, MultiView, PackViews, RandomGrayscale, RandomHorizontalFlip,
    RandomResizedCrop)

data_root = 'data/imagenet'
strength = 1.0

view_pipeline = [
    dict(type=RandomResizedCrop, size=224, scale=(0.08, 1.0), interpolation='bicubic'),
    dict(type=RandomHorizontalFlip, prob=0.5),
    dict(type=ColorJitter, prob=0.8, brightness=0.8 * strength, contrast=0.8 * strength,
         saturation=0.8 * strength, hue=0.2 * strength),
    dict(type=RandomGrayscale, prob=0.2),
    dict(type=GaussianBlur, prob=0.5, sigma=(0.1, 2.0)),
]
train_pipeline = [
    dict(type=LoadImage),
    dict(type=MultiView, num_views=2, transforms=view_pipeline),
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
