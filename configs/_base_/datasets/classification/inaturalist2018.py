"""iNaturalist 2018 to train classifiers on, as ImageNet but for where the images are: 8,142 species."""

from mmengine.config import read_base

from mmsimclr.datasets import INaturalist2018

with read_base():
    from .imagenet import *

dataset_name = 'iNaturalist 2018'
data_root = 'data/inaturalist2018'
# Assigned, as update() would merge them with ImageNet's.
train_dataloader.dataset = dict(
    type=INaturalist2018, data_root=data_root, split='train', pipeline=train_pipeline)
test_dataloader.dataset = dict(
    type=INaturalist2018, data_root=data_root, split='val', pipeline=test_pipeline)
