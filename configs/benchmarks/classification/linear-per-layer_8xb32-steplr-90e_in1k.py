"""Linear evaluation of features 1 to 5 on ImageNet-1k: five classifiers at once, 90 epochs at a batch of 256.

Command: tools/dist_benchmark.sh
configs/benchmarks/classification/linear-per-layer_8xb32-steplr-90e_in1k.py CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: 16.3, 31.1, 40.0, 55.1 and 62.9 % top-1 of features 1 to 5 with the model zoo's ResNet-50 of 8xb32
and 200 epochs (MMSelfSup 1.x); not run here.
Deviations: the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearPerLayer

with read_base():
    from ..._base_.datasets.classification.imagenet_per_layer import *
    from ..._base_.models.classification.linear_per_layer import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_per_layer import *

epochs = 90
batch_size = 32
global_batch = 8 * batch_size

protocol = dict(type=LinearPerLayer)
train_dataloader.update(batch_size=batch_size)
param_scheduler[0].update(milestones=[60, 80])
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
