"""Linear SVMs on your own images in VOC's layout: 19 costs, chosen by 3-fold cross-validation.

Command: mmsimclr benchmark svm_devkit CHECKPOINT data_root=PATH dataset_name=NAME
"""

from mmengine.config import read_base

from mmsimclr.protocols import SVM

with read_base():
    from ..._base_.datasets.features.devkit import *

default_scope = 'mmsimclr'
protocol = dict(type=SVM, train=train, test=test)
