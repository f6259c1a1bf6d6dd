"""Semi-supervised learning on 1 % of ImageNet-1k, OpenMMLab's: nine settings, 20 epochs at a batch of 256.

Command: mmsimclr prepare imagenet-subsets && tools/dist_benchmark.sh
configs/benchmarks/classification/semi-1pct_4xb64-steplr-20e_in1k.py CHECKPOINT 4
Hardware: meant for 4 GPUs.
Expected: no published number of OpenMMLab's for SimCLR; the paper's, of its own setting, is
48.3 % top-1 and 75.5 % top-5 with ResNet-50. Not run here.
Deviations: crops are bicubic, and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import SemiSupervised

with read_base():
    from ..._base_.datasets.classification.imagenet_1pct import *
    from ..._base_.models.classification.fine_tuned import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.fine_tuning_openmmlab import *

epochs = 20
batch_size = 64
global_batch = 4 * batch_size

protocol = dict(
    type=SemiSupervised, labels='1%', grid=dict(lr=[0.1, 0.01, 0.001], head_lr_multiplier=[1, 10, 100]))
train_dataloader.update(batch_size=batch_size)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
