"""Transfer to 12 datasets: logistic regression on frozen features.

Command: mmsimclr benchmark transfer-linear CHECKPOINT
Expected: ResNet-50 (4x), 1000 epochs: Food-101 76.9, CIFAR-10 95.3, CIFAR-100 80.2, Birdsnap 48.4,
SUN397 65.9, Cars 60.0, Aircraft 61.2, VOC2007 84.2, DTD 78.9, Pets 89.2, Caltech-101 93.9, Flowers 95.0
(Table 8).
Deviations from the paper: 20 % of the training images are held out where there is no official validation
split, the paper does not say how many; the regularisation is that of the mean loss, the paper does not say
of what (`l2_is_at_end` in a result tells whether the best lies at an end of the range); images of Birdsnap
that can no longer be fetched are left out.

Some of them: --cfg-options protocol.datasets=DTD,VOC2007. Those that are here: protocol.skip_missing=True.
"""

from mmengine.config import read_base

from mmsimclr.protocols import TransferLinear

with read_base():
    from ..._base_.datasets.features.transfer import *

default_scope = 'mmsimclr'
random_encoder = dict(depth=50)
protocol = dict(type=TransferLinear, tasks=tasks, l2=[10 ** (-6 + 11 * step / 44) for step in range(45)])
