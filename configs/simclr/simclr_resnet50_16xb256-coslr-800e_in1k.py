"""SimCLR, ResNet-50, 800 epochs at a global batch of 4096: the OpenMMLab model zoo's recipe.

Command: tools/dist_train.sh configs/simclr/simclr_resnet50_16xb256-coslr-800e_in1k.py 8, on each
of 2 machines (NNODES=2)
Hardware: meant for 16 GPUs with 256 images each; not run here yet.
Expected: 69.2 % linear top-1 on ImageNet-1k (MMSelfSup 1.x, SimCLR model page).
Deviations: none known. The gradient is 1/world_size of Eq. 1's, as the zoo's models were trained;
take ``model.head.loss.gradient = 'exact'`` for the right one.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.imagenet_simclr_openmmlab import *
    from .._base_.models.simclr_resnet50 import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_openmmlab import *

global_batch = 16 * 256
max_epochs = 800

# ImageNet mean and deviation, on 0-255.
model.data_preprocessor.update(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
model.head.loss.update(gradient='openmmlab')

train_dataloader.update(batch_size=256)
optim_wrapper.optimizer.update(lr=0.3 * global_batch / 256)
param_scheduler[1].update(T_max=max_epochs - 10, end=max_epochs)
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr.update(base_batch_size=global_batch)
