"""Supervised training under SimCLR's views, on CIFAR-10 on a laptop: ResNet-18 a quarter as wide, 20 epochs.

Command: mmsimclr prepare cifar10 && mmsimclr benchmark supervised_resnet18-w16_1xb128-coslr-20e_cifar10
--init random
Hardware: two CPU cores.
Expected: above the linear evaluation of simclr_resnet18-w16_1xb128-coslr-20e_cifar10; no published number for
so small a setting.
Deviations from the paper: appendix B.3 is about ImageNet and ResNet-50; encoder, images and crops are here
those of simclr_resnet18-w16_1xb128-coslr-20e_cifar10, and SGD is that of DeVries and Taylor 2017 (Nesterov,
0.1 at a batch of 128, decay 5e-4) with a cosine.
"""

from mmengine.config import read_base

from mmsimclr.engine import BFloat16OptimWrapper
from mmsimclr.protocols import Supervised
from mmsimclr.transforms import (
    AutoAugment, ColorJitter, GaussianBlur, RandomGrayscale, RandomHorizontalFlip, RandomResizedCrop)

with read_base():
    from .._base_.datasets.classification.cifar10 import *
    from .._base_.models.classification.fine_tuned import *
    from .._base_.runtime_benchmark import *
    from .._base_.schedules.classification.probe_paper import *

epochs = 20
batch_size = 128
global_batch = batch_size
lr = 0.1 * global_batch / 128

_crop = [dict(type=RandomResizedCrop, size=32, scale=(0.2, 1.0)), dict(type=RandomHorizontalFlip)]
_colour = [dict(type=ColorJitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
           dict(type=RandomGrayscale)]
_blur = [dict(type=GaussianBlur)]
_auto = [dict(type=AutoAugment)]
# Views: _crop, _crop + _colour, _crop + _colour + _blur, or _crop + _auto.
_view = _crop + _colour

protocol = dict(type=Supervised)
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)

train_dataloader.update(batch_size=batch_size, num_workers=1, pin_memory=False)
train_dataloader.dataset.update(num_images=20_000)
train_dataloader.dataset.pipeline[0].update(transforms=_view)
test_dataloader.update(num_workers=1, pin_memory=False)
optim_wrapper.update(type=BFloat16OptimWrapper, enabled='auto')
optim_wrapper.optimizer.update(lr=lr, weight_decay=5e-4)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
