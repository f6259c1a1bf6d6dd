"""SimCLR on CIFAR-10 on a laptop: ResNet-18 a quarter as wide, 10,000 training images, 25 epochs.

Command: python tools/prepare_data/cifar10.py && python tools/train.py
configs/simclr/simclr_resnet18-w16_1xb256-coslr-25e_cifar10.py
Hardware: two CPU cores; see docs/results.md for time and accuracy.
Expected: far above random initialisation in k-NN accuracy; no published number (a reduced setting).
Deviations from the paper: 16 channels in the stem, a fifth of the images, square-root learning rate,
two epochs of warm-up.
"""

from mmengine.config import read_base

from mmsimclr.engine import BFloat16OptimWrapper

with read_base():
    from .._base_.datasets.cifar10_simclr import *
    from .._base_.models.simclr_resnet18_cifar import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

global_batch = 256
max_epochs = 25

model.backbone.update(base_channels=16)
model.neck.update(in_channels=128, hid_channels=128)

train_dataloader.update(batch_size=global_batch, num_workers=1, pin_memory=False)
train_dataloader.dataset.update(num_images=10_000)
optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
optim_wrapper.optimizer.update(lr=0.075 * global_batch**0.5)
param_scheduler[0].update(warmup=2, total=max_epochs)
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr.update(base_batch_size=global_batch, rule='sqrt')
default_hooks.checkpoint.update(interval=5)
online_knn.update(interval=5)
custom_hooks.append(online_knn)
