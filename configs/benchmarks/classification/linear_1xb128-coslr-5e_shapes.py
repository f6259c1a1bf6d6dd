"""Linear evaluation on the built-in images: 4,000 to train, 5 epochs.

Command: mmsimclr benchmark linear_1xb128-coslr-5e_shapes CHECKPOINT
Hardware: two CPU cores, 38 s.
Deviations from the paper: flips only, 5 epochs.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.datasets.classification.shapes import *
    from ..._base_.models.classification.linear import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_paper import *

epochs = 5
batch_size = 128
global_batch = batch_size
lr = 0.1 * global_batch / 256

protocol = dict(type=LinearEvaluation)
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
