"""Linear evaluation of features 1 to 5 on the built-in images: 4,000 to train, 5 epochs.

Command: mmsimclr benchmark linear-per-layer_1xb64-steplr-5e_shapes CHECKPOINT
Hardware: two CPU cores, 31 s.
Deviations from the protocol: few epochs, flips only; maps of 32-pixel images are divided evenly into the
grids of the table.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearPerLayer

with read_base():
    from ..._base_.datasets.classification.shapes import *
    from ..._base_.models.classification.linear_per_layer import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_per_layer import *

epochs = 5
batch_size = 64
global_batch = batch_size

protocol = dict(type=LinearPerLayer)
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
train_dataloader.update(batch_size=batch_size)
param_scheduler[0].update(milestones=[3, 4])
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
