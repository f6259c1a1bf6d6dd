"""Semi-supervised learning on 10 % of ImageNet-1k, the paper's: global batch 4096, 30 epochs.

Command: mmsimclr prepare imagenet-subsets && tools/dist_benchmark.sh
configs/benchmarks/classification/semi-10pct_32xb128-coslr-30e_in1k.py CHECKPOINT 8, on each of 4 machines
with NNODES=4
Hardware: meant for 32 GPUs.
Expected: 65.6 % top-1 and 87.8 % top-5 with ResNet-50 (Chen et al. 2020, Tables 7 and B.2); not run here.
Deviations: resizing is antialiased, and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import SemiSupervised

with read_base():
    from ..._base_.datasets.classification.imagenet_10pct import *
    from ..._base_.models.classification.fine_tuned import *
    from ..._base_.runtime_benchmark import *
    from ..._base_.schedules.classification.probe_paper import *

epochs = 30
batch_size = 128
global_batch = 32 * batch_size
lr = 0.05 * global_batch / 256

protocol = dict(type=SemiSupervised, labels='10%')
# As the official code draws them; they are a tenth smaller on average than torchvision's.
train_dataloader.dataset.dataset.pipeline[1].transforms[0].update(style='official')
train_dataloader.update(batch_size=batch_size)
optim_wrapper.optimizer.update(lr=lr)
train_cfg.update(max_epochs=epochs)
auto_scale_lr.update(base_batch_size=global_batch)
