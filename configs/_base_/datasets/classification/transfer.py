"""Loaders and pipelines of transfer benchmarks, batches of 256; the protocol puts the datasets in."""

from mmengine.config import read_base

with read_base():
    from .photographs import *

train_dataloader.update(batch_size=256)
test_dataloader.update(batch_size=256)
