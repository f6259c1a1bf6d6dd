"""FCN-D8 on VOC12aug: 20,000 steps at a batch of 16, crops of 512 pixels.

Command: python tools/prepare_data/voc12aug.py && tools/dist_benchmark.sh
configs/benchmarks/segmentation/fcn-d8_4xb4-polylr-20k_voc12aug-512px.py CHECKPOINT 4
Hardware: meant for 4 GPUs.
Expected: mIoU 64.0 % with the model zoo's ResNet-50 of 8xb32 and 200 epochs (MMSelfSup 1.x); not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Segmentation

with read_base():
    from ..._base_.segmentation.voc12aug import *
    from ..._base_.segmentation.fcn_d8 import *
    from ..._base_.segmentation.runtime import *
    from ..._base_.segmentation.schedule_poly import *

global_batch = 4 * 4

protocol = dict(type=Segmentation, kind='FCN')
model.data_preprocessor.update(size=crop_size)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
