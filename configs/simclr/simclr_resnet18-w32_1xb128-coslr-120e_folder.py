"""SimCLR on a folder of your own images without a GPU: ResNet-18 half as wide, 96 pixels, 120 epochs.

Command: mmsimclr train simclr_resnet18-w32_1xb128-coslr-120e_folder data_root=PATH
Hardware: two CPU cores and a few thousand images; 2,193 took 68.5 minutes (docs/reference/results.md).
Expected: well above random initialisation on the images it was trained on and their like; no published
number for so small a setting.
Deviations from the paper: 32 channels in the stem, views of 96 pixels from at least 0.2 of the area,
drawn as torchvision does, temperature 0.2, a learning rate found by trial on the quick start, two epochs of
warm-up, residual branches not zeroed at the start.
"""

from mmengine.config import read_base

from mmsimclr.engine import BFloat16OptimWrapper

with read_base():
    from .._base_.datasets.simclr.folder import *
    from .._base_.models.simclr_resnet50 import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 120
batch_size = 128
global_batch = batch_size
lr = 3.0
view_size = 96
colour_strength = 1.0
encoder = 'resnet18'
width = 32
workers = 2
precision = 'auto'
tracker = None

model.backbone.update(depth=18, base_channels=width, zero_init_residual=False)
model.neck.update(in_channels=256, hid_channels=256)
model.head.update(temperature=0.2)

view.update(size=view_size, scale=(0.2, 1.0))
train_pipeline[1].update(transforms=[view])
train_dataloader.update(batch_size=batch_size, num_workers=workers, pin_memory=False)
train_dataloader.dataset.update(pipeline=train_pipeline)

optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[0].update(warmup=min(2, epochs // 10))
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch, rule='sqrt')
custom_hooks.append(health)
