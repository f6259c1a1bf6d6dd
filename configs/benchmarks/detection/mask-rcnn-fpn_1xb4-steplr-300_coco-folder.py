"""Mask R-CNN FPN on your own images in COCO's layout without a GPU: 300 steps at a batch of 4.

Command: mmsimclr benchmark mask-rcnn-fpn_1xb4-steplr-300_coco-folder CHECKPOINT data_root=PATH/
dataset_name=NAME
Hardware: meant for CPU cores and an encoder as narrow as simclr_resnet18-w32_1xb128-coslr-120e_folder.
Deviations: images of 320 pixels, few proposals, a narrow pyramid and narrow heads, few steps.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.datasets.detection.coco_folder import *
    from ..._base_.models.detection.mask_rcnn_fpn import *
    from ..._base_.runtime_detection import *
    from ..._base_.schedules.detection.steps_24k import *

batch_size = 4
global_batch = batch_size
max_iters = 300
width = 64

protocol = dict(type=Detection, kind='Mask R-CNN FPN')
random_encoder = dict(depth=18, base_channels=32, zero_init_residual=False)
model.neck.update(out_channels=width)
model.rpn_head.update(in_channels=width, feat_channels=width)
model.rpn_head.anchor_generator.update(scales=[6])
model.roi_head.bbox_roi_extractor.update(out_channels=width, finest_scale=28)
model.roi_head.bbox_head.update(in_channels=width, conv_out_channels=width, fc_out_channels=256)
model.roi_head.mask_roi_extractor.update(out_channels=width, finest_scale=28)
model.roi_head.mask_head.update(in_channels=width, conv_out_channels=width)
model.train_cfg.rpn_proposal.update(nms_pre=512, max_per_img=128)
model.train_cfg.rcnn.sampler.update(num=32, pos_fraction=0.5)
model.test_cfg.rpn.update(nms_pre=512, max_per_img=50)
param_scheduler[0].update(end=50)
param_scheduler[1].update(end=max_iters, milestones=[225, 280])
train_dataloader.update(batch_size=batch_size)
train_cfg.update(max_iters=max_iters, val_interval=max_iters)
default_hooks.checkpoint.update(by_epoch=False, interval=max_iters)
log_processor.update(by_epoch=False)
auto_scale_lr.update(base_batch_size=global_batch)
