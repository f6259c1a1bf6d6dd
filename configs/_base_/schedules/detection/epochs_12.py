"""12 epochs: SGD, warm-up over 500 steps, a tenth of the learning rate at epochs 8 and 11."""

from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import SGD

epochs = 12
optim_wrapper = dict(
    type=OptimWrapper, optimizer=dict(type=SGD, lr=0.02, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type=LinearLR, start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type=MultiStepLR, by_epoch=True, begin=0, end=epochs, milestones=[8, 11], gamma=0.1),
]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=epochs)
