"""SimCLR on a folder of your own images: ResNet-50, 200 epochs, one GPU.

Command: mmsimclr train simclr_resnet50_1xb256-coslr-200e_folder data_root=PATH --amp bf16
Hardware: meant for one large GPU; on a smaller one, a smaller train_dataloader.batch_size and
--auto-scale-lr. No labels and no annotation file are needed, so there is no
online k-NN.
Memory: a smaller batch has fewer negatives; model.chunk_size=64 keeps the batch and its negatives, for up
to one more forward pass.
Expected: depends on the images; no published number.
Deviations from the paper: a batch of 256, with the square-root learning rate the paper finds better
for small batches (Chen et al. 2020, appendix B.1); crops are torchvision's, on a photograph 11 % larger than
the official code's (SimCLRView's crop_style='official').
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.simclr.folder import *
    from .._base_.models.simclr_resnet50 import *
    from .._base_.runtime import *
    from .._base_.schedules.lars_paper import *

epochs = 200
batch_size = 256
global_batch = batch_size
lr = 0.075 * global_batch**0.5
view_size = 224
colour_strength = 1.0
encoder = 'resnet50'
width = 64
workers = 8
precision = 'fp32'
tracker = None

train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
param_scheduler[0].update(warmup=min(10, epochs // 10))
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch, rule='sqrt')
custom_hooks.append(health)
