"""OpenMMLab's optimisation for semi-supervised learning: SGD, fifths at epochs 12 and 16 of 20."""

from mmengine.optim import MultiStepLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import SGD

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type=MultiStepLR, milestones=[12, 16], gamma=0.2, by_epoch=True)]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=20)
