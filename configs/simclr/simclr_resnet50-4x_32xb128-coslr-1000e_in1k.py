"""SimCLR, ResNet-50 (4x wide), 1000 epochs at a global batch of 4096: the paper's best recipe.

Command: tools/dist_train.sh configs/simclr/simclr_resnet50-4x_32xb128-coslr-1000e_in1k.py 8, on each of 4
machines, with NNODES=4, NODE_RANK and MASTER_ADDR set
Hardware: meant for 32 GPUs with 128 images each; not run here yet.
Expected: 76.5 % top-1, 93.2 % top-5, linear on ImageNet-1k (Chen et al. 2020, Table 6).
Deviations: resizing is antialiased and colour operations are torchvision's, where the official code uses
TensorFlow's (crops are drawn as there); an epoch is 312 whole batches, so 312,000 steps where the official
code makes 312,785; the stem's pool is padded on both sides; convolutions are drawn Kaiming-normal; the
gradient is that of Eq. 1, where the official code's is twice it (``model.head.loss.gradient = 'google'``).
The projection head is the paper text's; the official code's has three layers and ends in a norm without
shift: ``model.neck.update(num_layers=3, with_last_bn_affine='scale')``.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.simclr.imagenet import *
    from .._base_.models.simclr_resnet50 import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 1000
batch_size = 128
global_batch = 32 * batch_size
lr = 0.3 * global_batch / 256
view_size = 224
colour_strength = 1.0
encoder = 'resnet50'
width = 256
workers = 8
precision = 'fp32'
tracker = None

model.backbone.update(width_multiplier=4)
model.neck.update(in_channels=4 * 2048, hid_channels=4 * 2048)

train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
custom_hooks.extend([online_knn, health])
