"""Linear evaluation on images of one's own in folders named by their classes: 40 epochs, no decay.

Command: python tools/benchmark.py configs/benchmarks/classification/linear_1xb64-coslr-40e_folder.py
CHECKPOINT --cfg-options data_root=PATH dataset_name=NAME
Hardware: two CPU cores and a few thousand images, or one GPU.
Deviations from the paper: 40 epochs, a batch of 64.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.benchmark_runtime import *
    from ..._base_.datasets.folder_classification import *
    from ..._base_.models.linear_classifier import *
    from ..._base_.schedules.probe_paper import *

global_batch = 64
max_epochs = 40

protocol = dict(type=LinearEvaluation)
optim_wrapper.optimizer.update(lr=0.1 * global_batch / 256)
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
