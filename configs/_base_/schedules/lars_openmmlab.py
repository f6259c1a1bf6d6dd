"""The optimisation behind the OpenMMLab model zoo.

OpenMMLab's trust ratio; warm-up per iteration from 1e-4 times the rate, cosine stepped per epoch;
parameters left out of weight decay and LARS scaling by their names.
"""

from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop

from mmsimclr.engine import LARS, LARSOptimWrapperConstructor

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=LARS, lr=0.3, momentum=0.9, weight_decay=1e-6, trust_ratio='openmmlab'),
    constructor=LARSOptimWrapperConstructor,
    paramwise_cfg=dict(custom_keys={
        'bn': dict(decay_mult=0, lars_exclude=True),
        'bias': dict(decay_mult=0, lars_exclude=True),
        'downsample.1': dict(decay_mult=0, lars_exclude=True),
    }))
param_scheduler = [
    dict(type=LinearLR, start_factor=1e-4, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type=CosineAnnealingLR, T_max=190, by_epoch=True, begin=10, end=200),
]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=200)
