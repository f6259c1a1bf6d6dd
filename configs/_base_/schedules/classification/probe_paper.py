"""The paper's optimisation of classifiers: SGD with Nesterov momentum, cosine per step, no warm-up, no decay.

A leaf states its global batch, from which the learning rate follows, and its epochs.
"""

from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import SGD

from mmsimclr.engine import WarmupCosineLR

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.0))
param_scheduler = [dict(type=WarmupCosineLR, warmup=0, convert_to_iter_based=True)]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=90)
