"""Linear evaluation on CIFAR-10, the official README's: 100 epochs at a batch of 512, no decay.

Command: mmsimclr prepare cifar10 && mmsimclr benchmark linear_1xb512-coslr-100e_cifar10 CHECKPOINT
Hardware: meant for one GPU.
Expected: about 91 % with ResNet-18 of 1000 epochs (google-research/simclr README).
Deviations: crops are torchvision's, 13 % larger on average than the official code's (RandomResizedCrop's
style='official'), and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.datasets.classification.cifar10 import *
    from ..._base_.models.classification.linear import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_paper import *

epochs = 100
batch_size = 512
global_batch = batch_size
# --learning_rate=0.1 of the official command is for 256 images; its code scales it by the batch.
lr = 0.1 * global_batch / 256

protocol = dict(type=LinearEvaluation)
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
