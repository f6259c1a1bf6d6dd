"""ImageNet-1k as the OpenMMLab recipe has it: bilinear crops as torchvision's, every batch of an epoch."""

from mmengine.config import read_base

with read_base():
    from .imagenet import *

view.update(interpolation='bilinear', crop_style='torchvision')
# Its loaders keep the last, smaller batch; the sampler pads, so it is of one size on all GPUs.
train_dataloader.update(drop_last=False)
train_dataloader.dataset.pipeline[1].update(transforms=[view])
