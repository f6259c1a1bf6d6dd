"""SimCLR on your own images of any channels and depth: ResNet-18 half as wide, 96 pixels, 120 epochs.

Command: mmsimclr train simclr_resnet18-w32_1xb128-coslr-120e_multiband data_root=PATH channels=13
value_range=(0,10000) preset=satellite
Hardware: two CPU cores and a few thousand images; or one GPU.
Expected: well above random initialisation on the images it was trained on and their like; no published
number.
Deviations from the paper: those of simclr_resnet18-w32_1xb128-coslr-120e_folder, where the learning rate was
found by trial; views without colours, each channel changed for itself (docs/how_to/any_images.md).
"""

from mmengine.config import read_base

from mmsimclr.engine import BFloat16OptimWrapper

with read_base():
    from .._base_.datasets.simclr.multiband import *
    from .._base_.models.simclr_resnet50 import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 120
batch_size = 128
global_batch = batch_size
lr = 3.0
view_size = 96
# What mmsimclr prepare stats PATH prints goes here, or on the command line: the number of channels, the
# values that become 0 and 1, the type of the files' values (None: that of the first file), and mean and
# deviation of each channel on the scale of 0 to 255 (None: 0 and 255).
channels = 3
value_range = 'dtype'
dtype = None
mean = None
std = None
preset = 'satellite'
encoder = 'resnet18'
width = 32
workers = 2
precision = 'auto'
tracker = None

model.backbone.update(depth=18, base_channels=width, zero_init_residual=False, in_channels=channels)
model.data_preprocessor.update(mean=mean or [0.0] * channels, std=std or [255.0] * channels)
model.neck.update(in_channels=256, hid_channels=256)
model.head.update(temperature=0.2)

_presets = dict(microscopy=microscopy, satellite=satellite)
if preset not in _presets:
    raise ValueError(f'preset must be one of {", ".join(_presets)}, got {preset!r}')
_presets[preset][0].update(size=view_size)
train_pipeline[0].update(channels=channels, value_range=value_range, dtype=dtype)
train_pipeline[1].update(transforms=_presets[preset])
train_dataloader.update(batch_size=batch_size, num_workers=workers, pin_memory=False)
train_dataloader.dataset.update(pipeline=train_pipeline)

optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[0].update(warmup=min(2, epochs // 10))
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch, rule='sqrt')
custom_hooks += [health, clipped]
