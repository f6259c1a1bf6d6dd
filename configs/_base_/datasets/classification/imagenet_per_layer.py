"""ImageNet-1k to train classifiers per layer on: crop, flip, colour jitter, PCA lighting."""

from mmengine.config import read_base

from mmsimclr.transforms import ColorJitter, PCALighting

with read_base():
    from .imagenet import *

train_pipeline[1].transforms.extend([
    dict(type=ColorJitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0, prob=1.0),
    dict(type=PCALighting, alpha_std=0.1),
])
train_dataloader.dataset.update(pipeline=train_pipeline)
