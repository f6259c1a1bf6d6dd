"""Logistic regression on frozen features of CIFAR-10, by L-BFGS: seconds, not minutes.

Command: mmsimclr benchmark logistic_cifar10 CHECKPOINT
Options: protocol.feature=projection for the output of the projection head, projection.hidden1 ... for its
hidden layers; protocol.tasks.0.train.num_images=20000 for a part of the training images.
The regularisation, one of seven, is chosen on a fifth of the training images, and used again on all.
"""

from mmengine.config import read_base

from mmsimclr.protocols import TransferLinear

with read_base():
    from ..._base_.datasets.features.cifar10 import *

default_scope = 'mmsimclr'
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
protocol = dict(
    type=TransferLinear,
    tasks=[dict(name=dataset_name, metric='top_1_accuracy_percent', train=train, test=test)],
    l2=[10.0 ** power for power in range(-6, 1)],
    feature='pooled')
