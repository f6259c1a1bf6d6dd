"""Transfer to 12 datasets: the whole network fine-tuned, by a grid of learning rates and weight decays.

Command: mmsimclr benchmark transfer-finetune CHECKPOINT
Hardware: meant for one GPU with batches of 256; 56 trainings of 20,000 steps and one more for each dataset.
Expected: ResNet-50 (4x), 1000 epochs: Food-101 89.4, CIFAR-10 98.6, CIFAR-100 89.0, Birdsnap 78.2,
SUN397 68.1, Cars 92.1, Aircraft 87.0, VOC2007 86.6, DTD 77.8, Pets 92.1, Caltech-101 94.1, Flowers 97.6
(Table 8).
Deviations from the paper: the learning rate falls by a cosine, the paper does not say how; 20 % of the
training images are held out where there is no official validation split; images of VOC2007
are trained with a logistic loss for each class, summed.

A run that was interrupted goes on when the command is repeated.
"""

from mmengine.config import read_base

from mmsimclr.engine import BatchNormMomentumHook
from mmsimclr.protocols import TransferFineTuning

with read_base():
    from ..._base_.datasets.classification.transfer import *
    from ..._base_.datasets.features.transfer import *
    from ..._base_.models.classification.fine_tuned import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.fine_tuning_transfer import *

protocol = dict(
    type=TransferFineTuning, tasks=tasks, train_pipeline=train_pipeline, test_pipeline=test_pipeline,
    lr=[10 ** (-4 + 3 * step / 6) for step in range(7)],
    weight_decay=[0.0, *(10 ** (-6 + 3 * step / 6) for step in range(7))])
# A finished point of the grid is kept as a number; checkpoints of all would fill disks.
default_hooks.checkpoint.update(interval=-1, save_last=False)
custom_hooks.append(dict(type=BatchNormMomentumHook))
log_processor.update(by_epoch=False)
