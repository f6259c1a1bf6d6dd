"""Supervised training under SimCLR's views, on ImageNet-1k: ResNet-50, 90 epochs.

Command: tools/dist_benchmark.sh configs/supervised/supervised_resnet50_32xb128-coslr-90e_in1k.py
--init random 8, on each of 4 machines with NNODES=4
Hardware: meant for 32 GPUs; not run here.
Expected: 75.6 % top-1 (Chen et al. 2020, Table 9, crop and colour, 90 epochs).
Deviations from the paper: it does not give the optimisation of its supervised baseline; here Goyal et al.
2017 (Nesterov, 0.1 at a batch of 256, 5 epochs of warm-up, decay 1e-4) with a cosine.
"""

from mmengine.config import read_base

from mmsimclr.protocols import Supervised
from mmsimclr.transforms import (
    ColorJitter, GaussianBlur, RandomGrayscale, RandomHorizontalFlip, RandomResizedCrop)

with read_base():
    from .._base_.datasets.classification.imagenet import *
    from .._base_.models.classification.fine_tuned import *
    from .._base_.runtime_benchmark import *
    from .._base_.schedules.classification.probe_paper import *

epochs = 90
batch_size = 128
global_batch = 32 * batch_size
lr = 0.1 * global_batch / 256

_crop = [dict(type=RandomResizedCrop, size=224, style='official'), dict(type=RandomHorizontalFlip)]
_colour = [dict(type=ColorJitter, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2),
           dict(type=RandomGrayscale)]
_blur = [dict(type=GaussianBlur)]
# Views: _crop, _crop + _colour, or _crop + _colour + _blur.
_view = _crop + _colour

protocol = dict(type=Supervised)
random_encoder = dict(depth=50)

train_dataloader.update(batch_size=batch_size)
train_dataloader.dataset.pipeline[1].update(transforms=_view)
optim_wrapper.optimizer.update(lr=lr, weight_decay=1e-4)
param_scheduler[0].update(warmup=5)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
