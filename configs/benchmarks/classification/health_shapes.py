"""Label-free measures on Shapes: rank, spectrum, uniformity of the features of test images.

Command: python tools/benchmark.py configs/benchmarks/classification/health_shapes.py CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import Health

with read_base():
    from ..._base_.datasets.features.shapes import *

default_scope = 'mmsimclr'
protocol = dict(type=Health, images=test)
