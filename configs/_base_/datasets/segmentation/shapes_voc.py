"""Images of several Shapes with their masks in VOC's layout, 64 pixels: 800 to train on, 200 to test on."""

from mmengine.config import read_base
from mmseg.datasets import BaseSegDataset

with read_base():
    from .devkit import *

dataset_name = 'Shapes'
data_root = 'data/shapes_voc/VOCdevkit/VOC2007'
metainfo = dict(classes=(
    'background', 'circle', 'square', 'triangle', 'star', 'cross', 'heart', 'hexagon', 'crescent', 'ring',
    'flower'))
crop_size = (64, 64)
# Whole images instead of random sizes and crops.
train_pipeline[2:4] = [dict(type=Resize, scale=crop_size, keep_ratio=True)]
test_pipeline[1].update(scale=crop_size)
train_dataloader.update(batch_size=16)
for _loader, _pipeline in ((train_dataloader, train_pipeline), (test_dataloader, test_pipeline)):
    _loader.dataset.update(type=BaseSegDataset, data_root=data_root, metainfo=metainfo, pipeline=_pipeline)
