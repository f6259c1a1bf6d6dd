"""Faster R-CNN C4 on PASCAL VOC 07+12 with VISSL's learning rate for SimCLR, 0.10, 24,000 steps.

Command: tools/dist_benchmark.sh configs/benchmarks/detection/faster-rcnn-c4_8xb2-steplr-24k-vissl_voc0712.py
CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: no published number for this model and these weights; not run here.
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
lr = 0.10

protocol = dict(type=Detection, kind='Faster R-CNN C4, VISSL')
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
default_hooks.checkpoint.update(by_epoch=False, interval=2_000)
log_processor.update(by_epoch=False)
auto_scale_lr.update(base_batch_size=global_batch)
