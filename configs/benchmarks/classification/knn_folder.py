"""k-NN on your own images in folders named by their classes: k = 1, 10, 20, 50.

Command: mmsimclr benchmark knn_folder CHECKPOINT data_root=PATH dataset_name=NAME
Deviations: k for hundreds of images a class in place of ImageNet's thousand.
"""

from mmengine.config import read_base

from mmsimclr.protocols import KNN

with read_base():
    from ..._base_.datasets.features.folder import *

default_scope = 'mmsimclr'
protocol = dict(type=KNN, train=train, test=test, k=(1, 10, 20, 50), temperature=0.07)
