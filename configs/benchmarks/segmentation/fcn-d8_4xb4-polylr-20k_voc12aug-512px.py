"""FCN-D8 on VOC12aug: 20,000 steps at a batch of 16, crops of 512 pixels.

Command: mmsimclr prepare voc12aug && tools/dist_benchmark.sh
configs/benchmarks/segmentation/fcn-d8_4xb4-polylr-20k_voc12aug-512px.py CHECKPOINT 4
Hardware: meant for 4 GPUs.
Expected: mIoU 64.0 % with the model zoo's ResNet-50 of 8xb32 and 200 epochs (MMSelfSup 1.x); not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Segmentation

with read_base():
    from ..._base_.datasets.segmentation.voc12aug import *
    from ..._base_.models.segmentation.fcn_d8 import *
    from ..._base_.runtime_segmentation import *
    from ..._base_.schedules.segmentation.poly_20k import *

batch_size = 4
global_batch = 4 * batch_size

protocol = dict(type=Segmentation, kind='FCN')
model.data_preprocessor.update(size=crop_size)
train_dataloader.update(batch_size=batch_size)
auto_scale_lr.update(base_batch_size=global_batch)
