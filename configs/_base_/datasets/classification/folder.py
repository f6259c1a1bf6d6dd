"""Your own images in folders named by their classes; crops have the size of the encoder's views.

Layout: train/CLASS/IMAGE and val/CLASS/IMAGE, or CLASS/IMAGE, of which a fifth is held out for validation.
"""

from mmengine.config import read_base

from mmsimclr.datasets import ClassFolders

with read_base():
    from .photographs import *

dataset_name = 'a folder'
data_root = 'data/images'
train_pipeline[1].transforms[0].update(size=None)
test_pipeline[1].update(size=None)
test_pipeline[2].update(size=None)
train_dataloader.update(
    batch_size=64,
    num_workers=2,
    pin_memory=False,
    dataset=dict(type=ClassFolders, data_root=data_root, split='train', pipeline=train_pipeline))
test_dataloader.update(
    batch_size=64,
    num_workers=2,
    pin_memory=False,
    dataset=dict(type=ClassFolders, data_root=data_root, split='val', pipeline=test_pipeline))
