"""Places205 to train classifiers on, as ImageNet but for where the images are.

Layout: data/places205/{train.txt,val.txt}, lines of path and class number, and the images below
data/places205/images.
"""

from mmengine.config import read_base
from mmpretrain.datasets import Places205

with read_base():
    from .imagenet import *

dataset_name = 'Places205'
data_root = 'data/places205'
# Assigned, as update() would merge them with ImageNet's.
train_dataloader.dataset = dict(
    type=Places205, data_root=data_root, data_prefix='images', ann_file='train.txt', pipeline=train_pipeline)
test_dataloader.dataset = dict(
    type=Places205, data_root=data_root, data_prefix='images', ann_file='val.txt', pipeline=test_pipeline)
