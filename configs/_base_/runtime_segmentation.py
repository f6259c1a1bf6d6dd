"""Runtime of segmenters: mmseg's scope, steps rather than epochs."""

from mmengine.config import read_base

with read_base():
    from .runtime_benchmark import *

default_scope = 'mmseg'
# Batch norm over all GPUs; plain batch norm on one device or on CPUs.
sync_bn = 'torch'
default_hooks.checkpoint.update(by_epoch=False, interval=2_000)
log_processor.update(by_epoch=False)
