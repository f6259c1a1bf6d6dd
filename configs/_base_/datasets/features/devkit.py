"""Your own images in VOC's layout, with all classes of each image, for benchmarks on features."""

from mmsimclr.datasets import VOCMultiLabel

dataset_name = 'a devkit'
data_root = 'data/VOCdevkit/VOC2007'
train = dict(type=VOCMultiLabel, data_root=data_root, split='trainval', pipeline=[])
test = dict(type=VOCMultiLabel, data_root=data_root, split='test', pipeline=[])
