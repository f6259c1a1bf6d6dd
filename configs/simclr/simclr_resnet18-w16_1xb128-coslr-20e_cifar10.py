"""SimCLR on CIFAR-10 on a laptop: ResNet-18 a quarter as wide, 20,000 training images, 20 epochs.

Command: mmsimclr prepare cifar10 && mmsimclr train simclr_resnet18-w16_1xb128-coslr-20e_cifar10
Hardware: two CPU cores; its 20,000 images took 16 minutes (docs/reference/results.md).
Expected: well above random initialisation in k-NN accuracy; no published number for so small a setting.
Deviations from the paper: 16 channels in the stem, two fifths of the images, crops of at least 0.2 of the
area, drawn as torchvision does, temperature 0.2, a learning rate found by trial on the quick start, one
epoch of warm-up, residual branches not zeroed at the start.
"""

from mmengine.config import read_base

from mmsimclr.engine import BFloat16OptimWrapper

with read_base():
    from .._base_.datasets.simclr.cifar10 import *
    from .._base_.models.simclr_resnet18_cifar import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 20
batch_size = 128
global_batch = batch_size
lr = 3.0
view_size = 32
colour_strength = 0.5
encoder = 'resnet18'
width = 16
workers = 1
precision = 'auto'
tracker = None

# Residual branches that do not start at zero: a stronger random encoder to be compared with.
model.backbone.update(base_channels=width, zero_init_residual=False)
model.neck.update(in_channels=128, hid_channels=128)
model.head.update(temperature=0.2)

view.update(scale=(0.2, 1.0))
train_dataloader.update(batch_size=batch_size, num_workers=workers, pin_memory=False)
train_dataloader.dataset.update(num_images=20_000)
train_dataloader.dataset.pipeline[0].update(transforms=[view])

optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[0].update(warmup=min(1, epochs // 5))
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch, rule='sqrt')
default_hooks.checkpoint.update(interval=5)
# All 10,000 test images against every fifth training image, with its label.
online_knn.update(interval=5, max_bank=10_000)
health.update(interval=2)
custom_hooks.extend([online_knn, health])
