"""Mask R-CNN FPN on COCO 2017, 2x: 24 epochs at a batch of 16.

Command: tools/dist_benchmark.sh configs/benchmarks/detection/mask-rcnn-fpn_8xb2-steplr-24e_coco.py
CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: no published number for SimCLR; not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.datasets.detection.coco import *
    from ..._base_.models.detection.mask_rcnn_fpn import *
    from ..._base_.runtime_detection import *
    from ..._base_.schedules.detection.epochs_12 import *

epochs = 24
batch_size = 2
global_batch = 8 * batch_size

protocol = dict(type=Detection, kind='Mask R-CNN FPN 2x')
param_scheduler[1].update(end=epochs, milestones=[16, 22])
train_dataloader.update(batch_size=batch_size)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
