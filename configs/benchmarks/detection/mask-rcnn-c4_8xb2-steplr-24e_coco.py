"""Mask R-CNN C4 on COCO 2017, 2x: 24 epochs at a batch of 16.

Command: tools/dist_benchmark.sh configs/benchmarks/detection/mask-rcnn-c4_8xb2-steplr-24e_coco.py
CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: no published number for SimCLR; not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.detection.coco_instance import *
    from ..._base_.detection.mask_rcnn_c4 import *
    from ..._base_.detection.runtime import *
    from ..._base_.detection.schedule_1x import *

global_batch = 8 * 2
max_epochs = 24

protocol = dict(type=Detection, kind='Mask R-CNN C4 2x')
param_scheduler[1].update(end=max_epochs, milestones=[16, 22])
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
