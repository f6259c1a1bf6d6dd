"""The official 10 % of ImageNet-1k's labels to train on, all of val to test.

The list of images: mmsimclr prepare imagenet-subsets
"""

from mmengine.config import read_base

from mmsimclr.datasets import ListedSubset

with read_base():
    from .imagenet import *

# Assigned, as update() would merge the two.
train_dataloader.dataset = dict(
    type=ListedSubset, names=f'{data_root}/subsets/10percent.txt', dataset=train_dataloader.dataset)
