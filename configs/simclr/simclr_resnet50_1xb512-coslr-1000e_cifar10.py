"""SimCLR on CIFAR-10, ResNet-50, 1000 epochs at a batch of 512.

Command: mmsimclr prepare cifar10 && mmsimclr train simclr_resnet50_1xb512-coslr-1000e_cifar10 --amp bf16
Hardware: meant for one GPU; not run here yet.
Expected: 94.0 % linear top-1 for the best of the paper's grid (Chen et al. 2020, appendix B.9: batch
256 to 4096, learning rate 0.5, 1 or 1.5, temperature 0.1, 0.5 or 1); this is one point of it.
Deviations: as in simclr_resnet18_1xb512-coslr-1000e_cifar10, and the projection head is the paper text's.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.simclr.cifar10 import *
    from .._base_.models.simclr_resnet18_cifar import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 1000
batch_size = 512
global_batch = batch_size
lr = 1.0 * global_batch / 256
view_size = 32
colour_strength = 0.5
encoder = 'resnet50'
width = 64
workers = 8
precision = 'fp32'
tracker = None

model.backbone.update(depth=50)
model.neck.update(in_channels=2048, hid_channels=2048)

view.update(crop_style='official')
train_dataloader.update(batch_size=batch_size)
train_dataloader.dataset.pipeline[0].update(transforms=[view])
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
default_hooks.checkpoint.update(interval=50)
custom_hooks.extend([online_knn, health])
