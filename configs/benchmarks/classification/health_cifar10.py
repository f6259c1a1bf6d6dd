"""Label-free measures on CIFAR-10: rank, spectrum, uniformity, alignment of 2,000 test images.

Command: mmsimclr benchmark health_cifar10 CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import Health
from mmsimclr.transforms import SimCLRView

with read_base():
    from ..._base_.datasets.features.cifar10 import *

default_scope = 'mmsimclr'
test.update(num_images=2_000)
protocol = dict(
    type=Health, images=test, view=dict(type=SimCLRView, size=32, strength=0.5, blur=False, scale=(0.2, 1.0)))
