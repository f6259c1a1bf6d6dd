"""FCN-D8 on Cityscapes: 40,000 steps at a batch of 8, crops of 769 pixels, tested on overlapping crops.

Command: mmsimclr prepare cityscapes && tools/dist_benchmark.sh
configs/benchmarks/segmentation/fcn-d8_4xb2-polylr-40k_cityscapes-769px.py CHECKPOINT 4
Hardware: meant for 4 GPUs.
Expected: no published number for SimCLR; not run here.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Segmentation

with read_base():
    from ..._base_.datasets.segmentation.cityscapes import *
    from ..._base_.models.segmentation.fcn_d8 import *
    from ..._base_.runtime_segmentation import *
    from ..._base_.schedules.segmentation.poly_20k import *

batch_size = 2
global_batch = 4 * batch_size
max_iters = 40_000

protocol = dict(type=Segmentation, kind='FCN')
model.data_preprocessor.update(size=crop_size)
for _head in (model.decode_head, model.auxiliary_head):
    _head.update(align_corners=True)
model.test_cfg.update(mode='slide', crop_size=crop_size, stride=(513, 513))
param_scheduler[0].update(end=max_iters)
train_dataloader.update(batch_size=batch_size)
train_cfg.update(max_iters=max_iters, val_interval=max_iters)
default_hooks.checkpoint.update(interval=4_000)
auto_scale_lr.update(base_batch_size=global_batch)
