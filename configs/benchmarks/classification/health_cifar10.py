"""Label-free measures on CIFAR-10: rank, spectrum, uniformity of the features of 2,000 test images.

Command: python tools/benchmark.py configs/benchmarks/classification/health_cifar10.py CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import Health

with read_base():
    from ..._base_.datasets.features.cifar10 import *

default_scope = 'mmsimclr'
test.update(num_images=2_000)
protocol = dict(type=Health, images=test)
