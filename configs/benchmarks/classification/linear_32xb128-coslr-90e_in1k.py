"""Linear evaluation on ImageNet-1k, the paper's: Nesterov momentum, global batch 4096, 90 epochs, no decay.

Command: tools/dist_benchmark.sh configs/benchmarks/classification/linear_32xb128-coslr-90e_in1k.py
CHECKPOINT 8, on each of 4 machines with NNODES=4
Hardware: meant for 32 GPUs.
Expected: 69.3 % top-1, 89.0 % top-5 with ResNet-50 (Chen et al. 2020, Tables 6 and B.1); not run here.
Deviations: crops are antialiased, and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.benchmark_runtime import *
    from ..._base_.datasets.imagenet_classification import *
    from ..._base_.models.linear_classifier import *
    from ..._base_.schedules.probe_paper import *

global_batch = 32 * 128
max_epochs = 90

protocol = dict(type=LinearEvaluation)
optim_wrapper.optimizer.update(lr=0.1 * global_batch / 256)
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
