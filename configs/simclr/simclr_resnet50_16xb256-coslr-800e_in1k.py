"""SimCLR, ResNet-50, 800 epochs at a global batch of 4096: the OpenMMLab model zoo's recipe.

Command: tools/dist_train.sh configs/simclr/simclr_resnet50_16xb256-coslr-800e_in1k.py 8, on each
of 2 machines, with NNODES=2, NODE_RANK and MASTER_ADDR set
Hardware: meant for 16 GPUs with 256 images each; not run here yet.
Expected: 69.2 % linear top-1 on ImageNet-1k (MMSelfSup 1.x, SimCLR model page).
Deviations: resizing is antialiased and the blur is a true Gaussian, where MMSelfSup calls Pillow. The
gradient is 1/world_size of Eq. 1's, as the zoo's models were trained.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.simclr.imagenet_openmmlab import *
    from .._base_.models.simclr_resnet50_openmmlab import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_openmmlab import *

epochs = 800
batch_size = 256
global_batch = 16 * batch_size
lr = 0.3 * global_batch / 256
view_size = 224
colour_strength = 1.0
encoder = 'resnet50'
width = 64
workers = 8
precision = 'fp32'
tracker = None

train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[1].update(T_max=epochs - 10, end=epochs)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
custom_hooks.extend([online_knn, health])
