"""ImageNet-1k with the views of the OpenMMLab recipe: as the paper's, but bilinear crops."""

from mmengine.config import read_base

with read_base():
    from .imagenet import *

view.update(interpolation='bilinear')
train_dataloader.dataset.pipeline[1].update(transforms=[view])
