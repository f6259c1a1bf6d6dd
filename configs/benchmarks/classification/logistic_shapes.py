"""Logistic regression on frozen features of Shapes: a linear probe in seconds.

Command: mmsimclr benchmark logistic_shapes CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import TransferLinear

with read_base():
    from ..._base_.datasets.features.shapes import *

default_scope = 'mmsimclr'
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
protocol = dict(
    type=TransferLinear,
    tasks=[dict(name=dataset_name, metric='top_1_accuracy_percent', train=train, test=test)],
    l2=[1e-4, 1e-3, 1e-2, 1e-1, 1.0])
