"""Your own images in folders named by their classes, train/CLASS/IMAGE and val/CLASS/IMAGE."""

from mmpretrain.datasets import CustomDataset

dataset_name = 'a folder'
data_root = 'data/images'
train = dict(type=CustomDataset, data_root=data_root, data_prefix='train', pipeline=[])
test = dict(type=CustomDataset, data_root=data_root, data_prefix='val', pipeline=[])
