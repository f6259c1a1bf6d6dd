"""Faster R-CNN C4 on images of several Shapes: 400 steps at a batch of 8.

Command: mmsimclr prepare shapes voc data/shapes_voc --train 800 --val 200 --image-size 64 --max-objects 3 &&
mmsimclr benchmark faster-rcnn-c4_1xb8-steplr-400_shapes CHECKPOINT
Hardware: two CPU cores, 137 s.
Deviations: few proposals and small anchors, for small images.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.datasets.detection.shapes_voc import *
    from ..._base_.models.detection.faster_rcnn_c4 import *
    from ..._base_.runtime_detection import *
    from ..._base_.schedules.detection.steps_24k import *

batch_size = 8
global_batch = batch_size
max_iters = 400

protocol = dict(type=Detection, kind='Faster R-CNN C4')
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
model.rpn_head.anchor_generator.update(scales=[3, 6, 10])
model.train_cfg.rpn.sampler.update(num=64)
model.train_cfg.rpn_proposal.update(nms_pre=256, max_per_img=32)
model.train_cfg.rcnn.sampler.update(num=12, pos_fraction=0.5)
model.test_cfg.rpn.update(nms_pre=256, max_per_img=32)
param_scheduler[0].update(end=50)
param_scheduler[1].update(end=max_iters, milestones=[300, 370])
train_dataloader.update(batch_size=batch_size)
train_cfg.update(max_iters=max_iters, val_interval=max_iters)
default_hooks.checkpoint.update(by_epoch=False, interval=max_iters)
log_processor.update(by_epoch=False)
auto_scale_lr.update(base_batch_size=global_batch)
