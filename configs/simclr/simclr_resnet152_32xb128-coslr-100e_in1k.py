"""SimCLR, ResNet-152, 100 epochs at a global batch of 4096: a point of the paper's Figure 7.

Command: tools/dist_train.sh configs/simclr/simclr_resnet152_32xb128-coslr-100e_in1k.py 8, on each of 4
machines, with NNODES=4, NODE_RANK and MASTER_ADDR set
Hardware: meant for 32 GPUs with 128 images each; not run here yet.
Expected: linear on ImageNet-1k, Chen et al. 2020, Figure 7, which draws this model and prints no number.
Deviations: resizing is antialiased and colour operations are torchvision's, where the official code uses
TensorFlow's (crops are drawn as there); an epoch is 312 whole batches, so 31,200 steps where the official
code makes 31,279; the stem's pool is padded on both sides; convolutions are drawn Kaiming-normal; the
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

epochs = 100
batch_size = 128
global_batch = 32 * batch_size
lr = 0.3 * global_batch / 256
view_size = 224
colour_strength = 1.0
encoder = 'resnet152'
width = 64
workers = 8
precision = 'fp32'
tracker = None

model.backbone.update(depth=152)

train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
custom_hooks.extend([online_knn, health])
