"""Transfer to Shapes: logistic regression on frozen features.

Command: mmsimclr benchmark transfer-linear_shapes CHECKPOINT
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
    l2=[10 ** (-6 + 11 * step / 44) for step in range(45)])
