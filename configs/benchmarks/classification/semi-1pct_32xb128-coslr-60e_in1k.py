"""Semi-supervised learning on 1 % of ImageNet-1k, the paper's: global batch 4096, 60 epochs.

Command: python tools/prepare_data/imagenet_subsets.py && tools/dist_benchmark.sh
configs/benchmarks/classification/semi-1pct_32xb128-coslr-60e_in1k.py CHECKPOINT 8, on each of 4 machines
with NNODES=4
Hardware: meant for 32 GPUs.
Expected: 48.3 % top-1 and 75.5 % top-5 with ResNet-50 (Chen et al. 2020, Tables 7 and B.2); not run here.
Deviations: crops are antialiased, and the last, partial batch of an epoch is dropped.
"""

from mmengine.config import read_base

from mmsimclr.protocols import SemiSupervised

with read_base():
    from ..._base_.benchmark_runtime import *
    from ..._base_.datasets.imagenet_1pct import *
    from ..._base_.models.fine_tuned_classifier import *
    from ..._base_.schedules.probe_paper import *

global_batch = 32 * 128
max_epochs = 60

protocol = dict(type=SemiSupervised, labels='1%')
optim_wrapper.optimizer.update(lr=0.05 * global_batch / 256)
train_cfg.update(max_epochs=max_epochs)
auto_scale_lr = dict(enable=False, base_batch_size=global_batch, rule='linear')
