"""The quick start: SimCLR on the built-in images, ResNet-18 a quarter as wide, 5 epochs.

Command: make quickstart, or mmsimclr train simclr_resnet18-w16_1xb128-coslr-5e_shapes
Hardware: two CPU cores; it took two and a half minutes (docs/reference/results.md).
Expected: docs/reference/results.md, generated from runs of this config.
Deviations from the paper: a small encoder on small images, crops of at least 0.3 of the area,
drawn as torchvision does, a learning rate found by trial, one epoch of warm-up, residual branches not zeroed
at the start.
"""

from mmengine.config import read_base

from mmsimclr.engine import BFloat16OptimWrapper

with read_base():
    from .._base_.datasets.simclr.shapes import *
    from .._base_.models.simclr_resnet18_cifar import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 5
batch_size = 128
global_batch = batch_size
# Above the square-root rule's 0.85: in so short a run it learns faster.
lr = 3.0
view_size = 32
colour_strength = 1.0
encoder = 'resnet18'
width = 16
workers = 1
precision = 'auto'
tracker = None

# Residual branches that do not start at zero: a stronger random encoder to be compared with.
model.backbone.update(base_channels=width, zero_init_residual=False)
model.neck.update(in_channels=128, hid_channels=128)
model.head.update(temperature=0.2)

optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[0].update(warmup=min(1, epochs // 5))
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch, rule='sqrt')
default_hooks.logger.update(interval=13)
default_hooks.checkpoint.update(interval=2, max_keep_ckpts=1)
online_knn.update(interval=2)
custom_hooks.extend([online_knn, health])
