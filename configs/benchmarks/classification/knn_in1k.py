"""k-NN on ImageNet-1k: k = 10, 20, 100, 200, votes weighted by exp(similarity / 0.07).

Command: mmsimclr benchmark knn_in1k CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import KNN

with read_base():
    from ..._base_.datasets.features.imagenet import *

default_scope = 'mmsimclr'
protocol = dict(type=KNN, train=train, test=test, k=(10, 20, 100, 200), temperature=0.07)
