"""ImageNet-1k for benchmarks on features."""

from mmpretrain.datasets import ImageNet

dataset_name = 'ImageNet-1k'
data_root = 'data/imagenet'
train = dict(type=ImageNet, data_root=data_root, split='train', pipeline=[])
test = dict(type=ImageNet, data_root=data_root, split='val', pipeline=[])
