"""Mask R-CNN on the map of stage 3; boxes and masks share stage 4 on regions (mmdet)."""

from mmengine.config import read_base

from mmdet.models import FCNMaskHead, MaskRCNN

with read_base():
    from .faster_rcnn_c4 import *

model.update(type=MaskRCNN)
model.roi_head.update(
    mask_roi_extractor=None,
    mask_head=dict(
        type=FCNMaskHead,
        num_convs=0,
        conv_out_channels=256,
        loss_mask=dict(type=CrossEntropyLoss, use_mask=True, loss_weight=1.0)))
model.train_cfg.rcnn.update(mask_size=14)
model.test_cfg.rcnn.update(mask_thr_binary=0.5)
