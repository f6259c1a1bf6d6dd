"""Runtime of detectors: mmdet's scope, batch norm over all GPUs."""

from mmengine.config import read_base

with read_base():
    from .runtime_benchmark import *

default_scope = 'mmdet'
# Batch norm over all GPUs; plain batch norm on one device or on CPUs.
sync_bn = 'torch'
