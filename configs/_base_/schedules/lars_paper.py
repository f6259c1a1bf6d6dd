"""The paper's optimisation: LARS, linear warm-up over 10 epochs, then cosine; both per step.

A leaf states its global batch B, from which the learning rate follows, and its epochs. An epoch of N images
has N // B whole batches. The official code counts steps, N * epochs // B + 1; a config of yours does so with
    train_cfg = dict(type=IterBasedTrainLoop, max_iters=N * epochs // B + 1)
    param_scheduler = [dict(type=WarmupCosineLR, warmup=N * 10 // B, by_epoch=False)]
"""

from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop

from mmsimclr.engine import LARS, LARSOptimWrapperConstructor, WarmupCosineLR

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=LARS, lr=0.3, momentum=0.9, weight_decay=1e-6),
    # Norms and biases take neither weight decay nor LARS scaling.
    constructor=LARSOptimWrapperConstructor)
param_scheduler = [dict(type=WarmupCosineLR, warmup=10, convert_to_iter_based=True)]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=100)
