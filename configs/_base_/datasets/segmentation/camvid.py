"""CamVid: 367 street scenes to train on in 128-pixel crops, 101 to test on; 11 classes.

Layout: {train,val}/*.jpg and {train,val}annot/*.png, whose values are 0 to 10, and 11 for pixels of no class.
"""

from mmengine.config import read_base
from mmseg.datasets import BaseSegDataset

with read_base():
    from .devkit import *

dataset_name = 'CamVid'
data_root = 'data/camvid'
metainfo = dict(classes=(
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian', 'bicyclist'))
no_class = 11
train_pipeline[3].update(ignore_index=no_class)
train_dataloader.dataset = dict(
    type=BaseSegDataset, data_root=data_root, metainfo=metainfo, ignore_index=no_class,
    data_prefix=dict(img_path='train', seg_map_path='trainannot'), pipeline=train_pipeline)
test_dataloader.dataset = dict(
    type=BaseSegDataset, data_root=data_root, metainfo=metainfo, ignore_index=no_class,
    data_prefix=dict(img_path='val', seg_map_path='valannot'), pipeline=test_pipeline)
test_evaluator.update(ignore_index=no_class)
