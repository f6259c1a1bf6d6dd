"""Linear evaluation on CIFAR-10, the official README's: 100 epochs at a batch of 512, no decay.

Command: python tools/prepare_data/cifar10.py && python tools/benchmark.py
configs/benchmarks/classification/linear_1xb512-coslr-100e_cifar10.py CHECKPOINT
Hardware: meant for one GPU.
Expected: about 91 % with ResNet-18 of 1000 epochs (google-research/simclr README).
Deviations: the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.benchmark_runtime import *
    from ..._base_.datasets.cifar10_classification import *
    from ..._base_.models.linear_classifier import *
    from ..._base_.schedules.probe_paper import *

global_batch = 512
max_epochs = 100

protocol = dict(type=LinearEvaluation)
# --learning_rate=0.1 of the official command is for 256 images; its code scales it by the batch.
optim_wrapper.optimizer.update(lr=0.1 * global_batch / 256)
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
