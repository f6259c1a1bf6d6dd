"""Faster R-CNN on the map of stage 3; stage 4 works on regions, and a norm follows it (mmdet)."""

from mmcv.ops import RoIAlign, nms
from mmdet.models import (
    BBoxHead, CrossEntropyLoss, DetDataPreprocessor, FasterRCNN, L1Loss, RPNHead, SingleRoIExtractor,
    StandardRoIHead)
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder, MaxIoUAssigner, RandomSampler

from mmsimclr.models import DownstreamResNet, Stage4Head

# The encoder's architecture and channels, the scale of its images and the classes come from the checkpoint
# and the data.
model = dict(
    type=FasterRCNN,
    data_preprocessor=dict(type=DetDataPreprocessor, bgr_to_rgb=True, pad_mask=True, pad_size_divisor=32),
    backbone=dict(type=DownstreamResNet, num_stages=3, out_indices=(2,)),
    rpn_head=dict(
        type=RPNHead,
        anchor_generator=dict(type=AnchorGenerator, scales=[2, 4, 8, 16, 32], ratios=[0.5, 1.0, 2.0]),
        bbox_coder=dict(type=DeltaXYWHBBoxCoder, target_means=[0., 0., 0., 0.], target_stds=[1., 1., 1., 1.]),
        loss_cls=dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type=L1Loss, loss_weight=1.0)),
    roi_head=dict(
        type=StandardRoIHead,
        shared_head=dict(type=Stage4Head),
        bbox_roi_extractor=dict(
            type=SingleRoIExtractor, roi_layer=dict(type=RoIAlign, output_size=14, sampling_ratio=0)),
        bbox_head=dict(
            type=BBoxHead,
            with_avg_pool=True,
            roi_feat_size=7,
            bbox_coder=dict(
                type=DeltaXYWHBBoxCoder, target_means=[0., 0., 0., 0.], target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=False,
            loss_cls=dict(type=CrossEntropyLoss, use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type=L1Loss, loss_weight=1.0))),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type=MaxIoUAssigner, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3,
                match_low_quality=True, ignore_iof_thr=-1),
            sampler=dict(
                type=RandomSampler, num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1, pos_weight=-1, debug=False),
        rpn_proposal=dict(
            nms_pre=12000, max_per_img=2000, nms=dict(type=nms, iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(
                type=MaxIoUAssigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5,
                match_low_quality=False, ignore_iof_thr=-1),
            sampler=dict(
                type=RandomSampler, num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            pos_weight=-1, debug=False)),
    test_cfg=dict(
        rpn=dict(nms_pre=6000, max_per_img=1000, nms=dict(type=nms, iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type=nms, iou_threshold=0.5), max_per_img=100)))
