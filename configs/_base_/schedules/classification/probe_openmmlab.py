"""OpenMMLab's optimisation of linear classifiers: LARS without exclusions, cosine stepped per epoch."""

from mmengine.optim import CosineAnnealingLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop

from mmsimclr.engine import LARS

# MMEngine's own constructor puts all parameters in one group, so the bias is scaled by LARS too.
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=LARS, lr=1.6, momentum=0.9, weight_decay=0.0, trust_ratio='openmmlab'))
param_scheduler = [dict(type=CosineAnnealingLR, T_max=90, by_epoch=True, begin=0, end=90)]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=90)
