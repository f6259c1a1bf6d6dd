"""Faster R-CNN C4 on PASCAL VOC 07+12 with VISSL's learning rate for SimCLR, 0.10, 24,000 steps.

Command: tools/dist_benchmark.sh configs/benchmarks/detection/faster-rcnn-c4_8xb2-steplr-24k-vissl_voc0712.py
CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: no published number for this model and these weights; not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Detection

with read_base():
    from ..._base_.detection.faster_rcnn_c4 import *
    from ..._base_.detection.runtime import *
    from ..._base_.detection.schedule_24k import *
    from ..._base_.detection.voc0712 import *

global_batch = 8 * 2

protocol = dict(type=Detection, kind='Faster R-CNN C4, VISSL')
optim_wrapper.optimizer.update(lr=0.10)
default_hooks.checkpoint.update(by_epoch=False, interval=2_000)
log_processor.update(by_epoch=False)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
