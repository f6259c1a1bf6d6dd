"""Mask R-CNN FPN on COCO 2017, 1x: 12 epochs at a batch of 16.

Command: tools/dist_benchmark.sh configs/benchmarks/detection/mask-rcnn-fpn_8xb2-steplr-12e_coco.py
CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: box AP 38.7, 58.1 and 42.4 % (AP, AP50, AP75) and mask AP 34.9, 55.3 and 37.5 % with the model
zoo's ResNet-50 of 8xb32 and 200 epochs (MMSelfSup 1.x); not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.datasets.detection.coco import *
    from ..._base_.models.detection.mask_rcnn_fpn import *
    from ..._base_.runtime_detection import *
    from ..._base_.schedules.detection.epochs_12 import *

batch_size = 2
global_batch = 8 * batch_size

protocol = dict(type=Detection, kind='Mask R-CNN FPN 1x')
train_dataloader.update(batch_size=batch_size)
auto_scale_lr.update(base_batch_size=global_batch)
