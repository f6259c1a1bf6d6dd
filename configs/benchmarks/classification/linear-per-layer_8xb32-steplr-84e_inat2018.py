"""Linear evaluation of features 1 to 5 on iNaturalist 2018: 84 epochs at a batch of 256.

Command: tools/dist_benchmark.sh
configs/benchmarks/classification/linear-per-layer_8xb32-steplr-84e_inat2018.py CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: no published number for SimCLR; not run here.
Deviations: crops are bicubic and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearPerLayer

with read_base():
    from ..._base_.datasets.classification.inaturalist2018 import *
    from ..._base_.models.classification.linear_per_layer import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_per_layer import *

epochs = 84
batch_size = 32
global_batch = 8 * batch_size

protocol = dict(type=LinearPerLayer)
train_dataloader.update(batch_size=batch_size)
param_scheduler[0].update(milestones=[24, 48, 72])
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
