"""SimCLR with ConvNeXt-Atto on CIFAR-10, 100 epochs.

Command: mmsimclr prepare cifar10 && mmsimclr train simclr_convnext-atto_1xb128-coslr-100e_cifar10
Hardware: meant for one GPU.
Expected: no published number; the 100 epochs were not run. A trial of 6 epochs on 10,000 images, one epoch of
them warm-up: k-NN (k = 20, those images as the bank) 34.3 %, from 23.4 % before training; one seed.
Deviations from the paper: the encoder, whose first patches are of 2 pixels; AdamW in place of LARS, with the
rate and the weight decay of ConvNeXt (Liu et al. 2022, Table 5: 4e-3 at a batch of 4096, 0.05), which were
found for training with labels on ImageNet; temperature 0.2.
"""

from mmengine.config import read_base

from mmsimclr.engine import BFloat16OptimWrapper
from mmsimclr.models import TimmEncoder

with read_base():
    from .._base_.datasets.simclr.cifar10 import *
    from .._base_.models.simclr_timm import *
    from .._base_.runtime import *
    from .._base_.schedules.adamw import *

epochs = 100
batch_size = 128
global_batch = batch_size
lr = 2.5e-4 * global_batch / 256
view_size = 32
colour_strength = 0.5
encoder = dict(type=TimmEncoder, name='convnext_atto', patch_size=2)
workers = 2
precision = 'auto'
tracker = None

model.update(backbone=encoder)

train_dataloader.update(batch_size=batch_size, num_workers=workers)
train_dataloader.dataset.pipeline[0].update(transforms=[view])

optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
custom_hooks.extend([online_knn, health])
