"""24,000 steps: SGD, warm-up over 100, a tenth of the learning rate at 18,000 and 22,000."""

from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.optim import SGD

max_iters = 24_000
optim_wrapper = dict(
    type=OptimWrapper, optimizer=dict(type=SGD, lr=0.02, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type=LinearLR, start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type=MultiStepLR, by_epoch=False, begin=0, end=max_iters, milestones=[18_000, 22_000], gamma=0.1),
]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=max_iters, val_interval=max_iters)
