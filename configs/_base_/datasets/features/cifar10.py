"""CIFAR-10 for benchmarks on features."""

from mmsimclr.datasets import CIFAR10

dataset_name = 'CIFAR-10'
data_root = 'data/cifar10'
train = dict(type=CIFAR10, data_root=data_root, split='train', pipeline=[])
test = dict(type=CIFAR10, data_root=data_root, split='test', pipeline=[])
