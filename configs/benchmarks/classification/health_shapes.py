"""Label-free measures on Shapes: rank, spectrum, uniformity of the features of test images.

Command: mmsimclr benchmark health_shapes CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import Health
from mmsimclr.transforms import SimCLRView

with read_base():
    from ..._base_.datasets.features.shapes import *

default_scope = 'mmsimclr'
protocol = dict(
    type=Health, images=test, view=dict(type=SimCLRView, size=32, strength=1.0, blur=False, scale=(0.2, 1.0)))
