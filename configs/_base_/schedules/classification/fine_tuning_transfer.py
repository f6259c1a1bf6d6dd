"""The paper's fine-tuning on other datasets: SGD with Nesterov momentum for so many steps, cosine per step.

The grid of a leaf gives learning rate and weight decay.
"""

from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.optim import SGD

from mmsimclr.engine import WarmupCosineLR

optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.01, momentum=0.9, nesterov=True))
param_scheduler = [dict(type=WarmupCosineLR, warmup=0, by_epoch=False)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=20_000)
# The grid of learning rates is for one batch size.
auto_scale_lr = None
