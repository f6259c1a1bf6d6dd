"""SimCLR, ResNet-50, 200 epochs at a global batch of 256: the OpenMMLab model zoo's recipe.

Command: tools/dist_train.sh configs/simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py 8
Hardware: meant for 8 GPUs with 32 images each; not run here yet.
Expected: 62.7 % linear top-1 on ImageNet-1k (MMSelfSup 1.x, SimCLR model page).
Deviations: resizing is antialiased and the blur is a true Gaussian, where MMSelfSup calls Pillow. The
gradient is 1/world_size of Eq. 1's, as the zoo's models were trained.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.simclr.imagenet_openmmlab import *
    from .._base_.models.simclr_resnet50_openmmlab import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_openmmlab import *

epochs = 200
batch_size = 32
global_batch = 8 * batch_size
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
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
custom_hooks.extend([online_knn, health])
