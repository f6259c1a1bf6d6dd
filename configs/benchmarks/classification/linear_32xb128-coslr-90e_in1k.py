"""Linear evaluation on ImageNet-1k, the paper's: Nesterov momentum, global batch 4096, 90 epochs, no decay.

Command: tools/dist_benchmark.sh configs/benchmarks/classification/linear_32xb128-coslr-90e_in1k.py
CHECKPOINT 8, on each of 4 machines with NNODES=4
Hardware: meant for 32 GPUs.
Expected: 69.3 % top-1, 89.0 % top-5 with ResNet-50 (Chen et al. 2020, Tables 6 and B.1); not run here.
Deviations: resizing is antialiased, and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LinearEvaluation

with read_base():
    from ..._base_.datasets.classification.imagenet import *
    from ..._base_.models.classification.linear import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_paper import *

epochs = 90
batch_size = 128
global_batch = 32 * batch_size
lr = 0.1 * global_batch / 256

protocol = dict(type=LinearEvaluation)
# As the official code draws them; they are a tenth smaller on average than torchvision's.
train_dataloader.dataset.pipeline[1].transforms[0].update(style='official')
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
