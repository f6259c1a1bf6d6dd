"""Shape bias of k-NN on 16-category images, which is not the published measure.

Command: mmsimclr benchmark shape-bias-knn_cue-conflict CHECKPOINT train_root=PATH
Deviations: an encoder without a classifier of ImageNet decides by images in train_root/CATEGORY/IMAGE.
"""

from mmengine.config import read_base
from mmpretrain.datasets import CustomDataset

from mmsimclr.protocols import ShapeBias

with read_base():
    from ..._base_.datasets.features.cue_conflict import *

train_root = 'data/sixteen_categories'

default_scope = 'mmsimclr'
_train = dict(type=CustomDataset, data_root=train_root, pipeline=[])
protocol = dict(type=ShapeBias, images=images, train=_train, k=20)
