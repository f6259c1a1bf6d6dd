"""Transfer to Shapes: a small network trained from random initialisation, by a grid of two learning rates.

Command: mmsimclr benchmark transfer-random-init_shapes --init random
Hardware: two CPU cores, 28 s.
Deviations from the paper: 50 steps, flips only, a small grid with learning rates to match.
"""

from mmengine.config import read_base

from mmsimclr.engine import BatchNormMomentumHook
from mmsimclr.protocols import TransferFineTuning
from mmsimclr.transforms import PackImage

with read_base():
    from ..._base_.datasets.classification.shapes import *
    from ..._base_.models.classification.fine_tuned import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.fine_tuning_transfer import *

protocol = dict(
    type=TransferFineTuning,
    tasks=[dict(name=dataset_name, metric='top_1_accuracy_percent',
                train=dict(type=Shapes, num_images=1_000, split='train'),
                test=dict(type=Shapes, num_images=500, split='test'))],
    train_pipeline=train_pipeline, test_pipeline=[dict(type=PackImage)],
    lr=[0.02, 0.05], weight_decay=[1e-5], from_scratch=True)
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
# A finished point of the grid is kept as a number; checkpoints of all would fill disks.
default_hooks.checkpoint.update(interval=-1, save_last=False)
custom_hooks.append(dict(type=BatchNormMomentumHook))
# Runs of seconds: a loader's process would cost more than it gives.
train_dataloader.update(batch_size=32, num_workers=0, persistent_workers=False)
test_dataloader.update(num_workers=0)
train_cfg.update(max_iters=50)
log_processor.update(by_epoch=False)
