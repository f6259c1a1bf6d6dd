"""Places205 to train classifiers on, as ImageNet but for where the images are.

Layout: that of the published archives, data/places205/trainvalsplit_places205/{train,val}_places205.csv and
the images below data/places205/images256. mmsimclr prepare places205 checks it.
"""

from mmengine.config import read_base
from mmsimclr.datasets import Places205

with read_base():
    from .imagenet import *

dataset_name = 'Places205'
data_root = 'data/places205'
# Assigned, as update() would merge them with ImageNet's.
train_dataloader.dataset = dict(
    type=Places205, data_root=data_root, split='train', pipeline=train_pipeline)
test_dataloader.dataset = dict(
    type=Places205, data_root=data_root, split='val', pipeline=test_pipeline)
