"""SimCLR on CIFAR-10, ResNet-18, 1000 epochs at a batch of 512: the official README's setting.

Command: mmsimclr prepare cifar10 && mmsimclr train simclr_resnet18_1xb512-coslr-1000e_cifar10 --amp bf16
Hardware: meant for one GPU; the full run was not made here yet.
Expected: about 91 % linear top-1 (google-research/simclr README).
Deviations: the gradient is that of Eq. 1 (the official code's is twice it); resizing is antialiased and
colour operations are torchvision's (crops are the official code's); an epoch is 97 whole batches, so 97,000
steps where the official code makes 97,657; convolutions are drawn Kaiming-normal.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.simclr.cifar10 import *
    from .._base_.models.simclr_resnet18_cifar import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 1000
batch_size = 512
global_batch = batch_size
# The README's --learning_rate=1.0 is scaled linearly from a batch of 256.
lr = 1.0 * global_batch / 256
view_size = 32
colour_strength = 0.5
encoder = 'resnet18'
width = 64
workers = 8
precision = 'fp32'
tracker = None

# The official code's ResNet-18 has a projection shortcut in its first block, its head three layers.
model.backbone.update(project_first_shortcut=True)
model.neck.update(num_layers=3, with_last_bn_affine='scale')

view.update(crop_style='official')
train_dataloader.update(batch_size=batch_size)
train_dataloader.dataset.pipeline[0].update(transforms=[view])
optim_wrapper.optimizer.update(lr=lr, weight_decay=1e-4)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
default_hooks.checkpoint.update(interval=50)
custom_hooks.extend([online_knn, health])
