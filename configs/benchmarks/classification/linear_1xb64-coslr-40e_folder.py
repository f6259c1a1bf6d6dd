"""Linear evaluation on your own images in folders named by their classes: 40 epochs, no decay.

Command: mmsimclr benchmark linear_1xb64-coslr-40e_folder CHECKPOINT data_root=PATH dataset_name=NAME
Hardware: two CPU cores and a few thousand images, or one GPU.
Deviations from the paper: 40 epochs, a batch of 64, crops of the size of the encoder's views, features
normalised per channel before the classifier, so that one learning rate suits every encoder.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.datasets.classification.folder import *
    from ..._base_.models.classification.linear import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_paper import *

epochs = 40
batch_size = 64
global_batch = batch_size
lr = 0.1 * global_batch / 256

protocol = dict(type=LinearEvaluation)
model.heads.pooled.update(norm=True)
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
