"""SimCLR with ViT-Tiny on CIFAR-10, 100 epochs.

Command: mmsimclr prepare cifar10 && mmsimclr train simclr_vit-tiny_1xb128-coslr-100e_cifar10
Hardware: meant for one GPU.
Expected: no published number; the 100 epochs were not run. A trial of 6 epochs on 10,000 images, one epoch of
them warm-up: k-NN (k = 20, those images as the bank) 37.7 %, from 27.5 % before training; one seed.
Deviations from the paper: the encoder, of patches of 4 pixels, its patch embedding frozen as MoCo v3 does
(Chen, Xie and He 2021, section 4.2); AdamW in place of LARS, with MoCo v3's rate and weight decay (1.5e-4 at
a batch of 256, 0.1), which were found for another loss on ImageNet; temperature 0.2.
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
lr = 1.5e-4 * global_batch / 256
view_size = 32
colour_strength = 0.5
encoder = dict(
    type=TimmEncoder, name='vit_tiny_patch16_224', img_size=view_size, patch_size=4,
    frozen_patch_embedding=True)
workers = 2
precision = 'auto'
tracker = None

model.update(backbone=encoder)

train_dataloader.update(batch_size=batch_size, num_workers=workers)
train_dataloader.dataset.pipeline[0].update(transforms=[view])

optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
optim_wrapper.optimizer.update(lr=lr, weight_decay=0.1)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
custom_hooks.extend([online_knn, health])
