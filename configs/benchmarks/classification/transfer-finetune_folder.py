"""Transfer to your own images in class folders: the whole network fine-tuned, by a small grid.

Command: mmsimclr benchmark transfer-finetune_folder CHECKPOINT data_root=PATH dataset_name=NAME
Hardware: two CPU cores and a small encoder, some minutes.
Deviations from the paper: crops of the size of the views, 600 steps, a small grid with
learning rates to match, a fifth of the training images held out to choose from it.
"""

from mmengine.config import read_base

from mmsimclr.engine import BatchNormMomentumHook
from mmsimclr.protocols import TransferFineTuning

with read_base():
    from ..._base_.datasets.classification.folder import *
    from ..._base_.datasets.features.folder import *
    from ..._base_.models.classification.fine_tuned import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.fine_tuning_transfer import *

protocol = dict(
    type=TransferFineTuning,
    tasks=[dict(name=dataset_name, metric='top_1_accuracy_percent', train=train, test=test)],
    train_pipeline=train_pipeline, test_pipeline=test_pipeline, lr=[0.01, 0.1], weight_decay=[1e-5, 1e-4])
random_encoder = dict(depth=18, stem='cifar', base_channels=16, zero_init_residual=False)
# A finished point of the grid is kept as a number; checkpoints of all would fill disks.
default_hooks.checkpoint.update(interval=-1, save_last=False)
custom_hooks.append(dict(type=BatchNormMomentumHook))
train_cfg.update(max_iters=600)
log_processor.update(by_epoch=False)
