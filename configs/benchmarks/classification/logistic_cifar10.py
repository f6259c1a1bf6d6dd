"""Logistic regression on frozen features of CIFAR-10: a linear probe in seconds, of 10,000 training images.

Command: python tools/benchmark.py configs/benchmarks/classification/logistic_cifar10.py CHECKPOINT
The regularisation is chosen among five values on a fifth of the training images.
"""

from mmengine.config import read_base

from mmsimclr.protocols import TransferLinear

with read_base():
    from ..._base_.datasets.features.cifar10 import *

default_scope = 'mmsimclr'
encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
train.update(num_images=10_000)
protocol = dict(
    type=TransferLinear,
    tasks=[dict(name=dataset_name, metric='top_1_accuracy_percent', train=train, test=test)],
    l2=[1e-4, 1e-3, 1e-2, 1e-1, 1.0])
