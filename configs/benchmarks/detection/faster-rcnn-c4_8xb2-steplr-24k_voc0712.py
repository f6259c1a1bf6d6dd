"""Faster R-CNN C4 on PASCAL VOC 07+12, OpenMMLab's: learning rate 0.02, 24,000 steps at a batch of 16.

Command: tools/dist_benchmark.sh configs/benchmarks/detection/faster-rcnn-c4_8xb2-steplr-24k_voc0712.py
CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: AP50 79.4 % by 11 points with the model zoo's ResNet-50 of 8xb32 and 200 epochs (MMSelfSup 1.x);
not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.datasets.detection.voc0712 import *
    from ..._base_.models.detection.faster_rcnn_c4 import *
    from ..._base_.runtime_detection import *
    from ..._base_.schedules.detection.steps_24k import *

batch_size = 2
global_batch = 8 * batch_size

protocol = dict(type=Detection, kind='Faster R-CNN C4')
train_dataloader.update(batch_size=batch_size)
default_hooks.checkpoint.update(by_epoch=False, interval=2_000)
log_processor.update(by_epoch=False)
auto_scale_lr.update(base_batch_size=global_batch)
