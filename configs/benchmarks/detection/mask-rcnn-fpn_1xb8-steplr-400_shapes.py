"""Mask R-CNN FPN on images of several Shapes: 400 steps at a batch of 8.

Command: mmsimclr prepare shapes coco data/shapes_coco --train 800 --val 200 --image-size 64 --max-objects 3
&& mmsimclr benchmark mask-rcnn-fpn_1xb8-steplr-400_shapes CHECKPOINT
Hardware: two CPU cores, 103 s.
Deviations: few proposals, small anchors and narrow heads, for small images; no pyramid level at stride 1.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.datasets.detection.shapes_coco import *
    from ..._base_.models.detection.mask_rcnn_fpn import *
    from ..._base_.runtime_detection import *
    from ..._base_.schedules.detection.steps_24k import *

batch_size = 8
global_batch = batch_size
max_iters = 400
width = 32

protocol = dict(type=Detection, kind='Mask R-CNN FPN')
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
model.backbone.update(out_indices=(1, 2, 3))
model.neck.update(out_channels=width, num_outs=3)
model.rpn_head.update(in_channels=width, feat_channels=width)
model.rpn_head.anchor_generator.update(scales=[4, 6])
model.roi_head.bbox_roi_extractor.update(out_channels=width, finest_scale=12)
model.roi_head.bbox_head.update(in_channels=width, conv_out_channels=width, fc_out_channels=128)
model.roi_head.mask_roi_extractor.update(out_channels=width, finest_scale=12)
model.roi_head.mask_head.update(in_channels=width, conv_out_channels=width)
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
