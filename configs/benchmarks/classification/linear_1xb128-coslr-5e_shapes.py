"""Linear evaluation on the built-in images: 4,000 to train, 5 epochs.

Command: python tools/benchmark.py configs/benchmarks/classification/linear_1xb128-coslr-5e_shapes.py
CHECKPOINT
Hardware: two CPU cores, 38 s.
Deviations from the paper: flips only, 5 epochs.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.benchmark_runtime import *
    from ..._base_.datasets.shapes_classification import *
    from ..._base_.models.linear_classifier import *
    from ..._base_.schedules.probe_paper import *

global_batch = 128
max_epochs = 5

protocol = dict(type=LinearEvaluation)
encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
optim_wrapper.optimizer.update(lr=0.1 * global_batch / 256)
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
