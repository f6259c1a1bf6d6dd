"""AdamW for ConvNeXts and vision transformers: linear warm-up over 10 epochs, then cosine; both per step.

Norms, biases and other vectors, class token and position embedding have no weight decay, as in the code of
ConvNeXt (Liu et al. 2022) and MoCo v3 (Chen, Xie and He 2021).
"""

from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import AdamW

from mmsimclr.engine import WarmupCosineLR

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2.5e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0,
        custom_keys={'cls_token': dict(decay_mult=0.0), 'pos_embed': dict(decay_mult=0.0)}))
param_scheduler = [dict(type=WarmupCosineLR, warmup=10, convert_to_iter_based=True)]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=100)
