"""SimCLR with ResNet-50 as OpenMMLab trained its model zoo: ImageNet mean and deviation, its gradient."""

from mmengine.config import read_base

with read_base():
    from .simclr_resnet50 import *

# On the 0-255 scale.
model.data_preprocessor.update(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
# 1/world_size of Eq. 1's, whatever the number of ranks; 'exact' is the right one.
model.head.loss.update(gradient='openmmlab')
