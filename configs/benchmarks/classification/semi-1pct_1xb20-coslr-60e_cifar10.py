"""Semi-supervised learning on 1 % of CIFAR-10, 500 of 50,000 images, as many of each class.

Command: mmsimclr benchmark semi-1pct_1xb20-coslr-60e_cifar10 CHECKPOINT
Hardware: two CPU cores, a few minutes with a narrow ResNet-18.
Expected: no published number; compare with an untrained encoder.
Deviations from the paper: CIFAR-10, a small batch with a learning rate to match, and crops of at least half
of the image.
"""

from mmengine.config import read_base

from mmsimclr.datasets import BalancedSubset
from mmsimclr.protocols import SemiSupervised

with read_base():
    from ..._base_.datasets.classification.cifar10 import *
    from ..._base_.models.classification.fine_tuned import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_paper import *

epochs = 60
batch_size = 20
global_batch = batch_size
lr = 0.4 * global_batch / 256

protocol = dict(type=SemiSupervised, labels='1%')
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
train_pipeline[0].transforms[0].update(scale=(0.5, 1.0))
train_dataloader.update(batch_size=batch_size, num_workers=1, pin_memory=False)
# Assigned, as update() would merge the two.
train_dataloader.dataset = dict(
    type=BalancedSubset, fraction=0.01, dataset={**train_dataloader.dataset, 'pipeline': train_pipeline})
test_dataloader.update(num_workers=1, pin_memory=False)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
