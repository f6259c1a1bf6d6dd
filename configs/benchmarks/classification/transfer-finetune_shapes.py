"""Transfer to Shapes: the whole network fine-tuned, by a grid of two learning rates and two weight decays.

Command: mmsimclr benchmark transfer-finetune_shapes CHECKPOINT
Hardware: two CPU cores, 26 s.
Deviations from the paper: 20 steps, flips only, a small grid with learning rates to match.
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
    lr=[0.01, 0.1], weight_decay=[0.0, 1e-5])
# A finished point of the grid is kept as a number; checkpoints of all would fill disks.
default_hooks.checkpoint.update(interval=-1, save_last=False)
custom_hooks.append(dict(type=BatchNormMomentumHook))
# Runs of seconds: a loader's process would cost more than it gives.
train_dataloader.update(batch_size=32, num_workers=0, persistent_workers=False)
test_dataloader.update(num_workers=0)
train_cfg.update(max_iters=20)
log_processor.update(by_epoch=False)
