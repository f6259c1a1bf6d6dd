"""Semi-supervised learning on 10 % of the built-in images, 400 of 4,000, as many of each class.

Command: mmsimclr benchmark semi-10pct_1xb32-coslr-20e_shapes CHECKPOINT
Hardware: two CPU cores, 35 s.
Deviations from the paper: flips only, a small batch with a learning rate to match.
"""

from mmengine.config import read_base

from mmsimclr.datasets import BalancedSubset
from mmsimclr.protocols import SemiSupervised

with read_base():
    from ..._base_.datasets.classification.shapes import *
    from ..._base_.models.classification.fine_tuned import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_paper import *

epochs = 20
batch_size = 32
global_batch = batch_size
lr = 0.4 * global_batch / 256

protocol = dict(type=SemiSupervised, labels='10%')
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
train_dataloader.update(batch_size=batch_size)
# Assigned, as update() would merge the two.
train_dataloader.dataset = dict(type=BalancedSubset, fraction=0.10, dataset=train_dataloader.dataset)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
