"""Loaders of classifiers: training shuffled by a seed, every test image in order."""

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from torch.utils.data import default_collate

with read_base():
    from ..train_loader import *

test_dataloader = dict(
    num_workers=8,
    pin_memory=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate))
