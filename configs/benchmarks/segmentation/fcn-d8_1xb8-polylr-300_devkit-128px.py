"""FCN on your own images in VOC's layout without a GPU: 300 steps at a batch of 8.

Command: mmsimclr benchmark fcn-d8_1xb8-polylr-300_devkit-128px CHECKPOINT data_root=PATH dataset_name=NAME
Hardware: meant for CPU cores and an encoder as narrow as simclr_resnet18-w32_1xb128-coslr-120e_folder.
Deviations: small crops, narrow heads, few steps.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Segmentation

with read_base():
    from ..._base_.datasets.segmentation.devkit import *
    from ..._base_.models.segmentation.fcn_d8 import *
    from ..._base_.runtime_segmentation import *
    from ..._base_.schedules.segmentation.poly_20k import *

batch_size = 8
global_batch = batch_size
max_iters = 300
lr = 0.05

protocol = dict(type=Segmentation, kind='FCN')
random_encoder = dict(depth=18, base_channels=32, zero_init_residual=False)
model.data_preprocessor.update(size=crop_size)
model.decode_head.update(channels=64)
model.auxiliary_head.update(channels=32)
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[0].update(end=max_iters)
train_cfg.update(max_iters=max_iters, val_interval=max_iters)
default_hooks.checkpoint.update(interval=max_iters)
auto_scale_lr.update(base_batch_size=global_batch)
