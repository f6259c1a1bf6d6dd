"""FCN on images of several Shapes: 400 steps at a batch of 16; the CIFAR stem's last map has stride 8.

Command: mmsimclr prepare shapes voc data/shapes_voc --train 800 --val 200 --image-size 64 --max-objects 3 &&
mmsimclr benchmark fcn-d8_1xb16-polylr-400_shapes CHECKPOINT
Hardware: two CPU cores, 109 s.
Deviations: narrow heads and a high learning rate, for small images and few steps.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Segmentation

with read_base():
    from ..._base_.datasets.segmentation.shapes_voc import *
    from ..._base_.models.segmentation.fcn_d8 import *
    from ..._base_.runtime_segmentation import *
    from ..._base_.schedules.segmentation.poly_20k import *

batch_size = 16
global_batch = batch_size
max_iters = 400
lr = 0.1

protocol = dict(type=Segmentation, kind='FCN')
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
model.data_preprocessor.update(size=crop_size)
model.decode_head.update(channels=64)
model.auxiliary_head.update(channels=32)
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[0].update(end=max_iters)
train_cfg.update(max_iters=max_iters, val_interval=max_iters)
default_hooks.checkpoint.update(interval=max_iters)
auto_scale_lr.update(base_batch_size=global_batch)
