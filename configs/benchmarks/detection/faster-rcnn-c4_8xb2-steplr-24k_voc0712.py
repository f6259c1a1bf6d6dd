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
    from ..._base_.detection.faster_rcnn_c4 import *
    from ..._base_.detection.runtime import *
    from ..._base_.detection.schedule_24k import *
    from ..._base_.detection.voc0712 import *

global_batch = 8 * 2

protocol = dict(type=Detection, kind='Faster R-CNN C4')
default_hooks.checkpoint.update(by_epoch=False, interval=2_000)
log_processor.update(by_epoch=False)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
