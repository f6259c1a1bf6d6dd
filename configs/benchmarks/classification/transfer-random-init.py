"""Transfer to 12 datasets: the network trained from random initialisation, by a grid, for comparison.

Command: mmsimclr benchmark transfer-random-init --init random
Hardware: meant for one GPU with batches of 256; 56 trainings of 40,000 steps and one more for each dataset.
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
    lr=[10 ** (-3 + 3 * step / 6) for step in range(7)],
    weight_decay=[10 ** (-5 + 3.5 * step / 7) for step in range(8)],
    from_scratch=True)
random_encoder = dict(depth=50)
# A finished point of the grid is kept as a number; checkpoints of all would fill disks.
default_hooks.checkpoint.update(interval=-1, save_last=False)
custom_hooks.append(dict(type=BatchNormMomentumHook))
train_cfg.update(max_iters=40_000)
log_processor.update(by_epoch=False)
