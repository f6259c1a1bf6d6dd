"""Linear evaluation on ImageNet-1k, OpenMMLab's: LARS, learning rate 1.6, global batch 4096, 90 epochs.

Command: tools/dist_benchmark.sh configs/benchmarks/classification/linear_8xb512-coslr-90e_in1k.py
CHECKPOINT 8
Hardware: meant for 8 GPUs.
Expected: 62.7 % top-1 with the model zoo's ResNet-50 of 8xb32 and 200 epochs, 66.9 % with that of 16xb256
(MMSelfSup 1.x); not run here.
Deviations: crops are bicubic and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.datasets.classification.imagenet import *
    from ..._base_.models.classification.linear import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_openmmlab import *

epochs = 90
batch_size = 512
global_batch = 8 * batch_size

protocol = dict(type=LinearEvaluation)
# OpenMMLab draws the weights; LARS could not scale steps by the norm of weights that are zero.
model.heads.pooled.update(init_std=0.01)
train_dataloader.update(batch_size=batch_size)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
