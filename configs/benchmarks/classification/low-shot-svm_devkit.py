"""Linear SVMs on k = 1 to 96 images of each class of your own data in VOC's layout, five samples.

Command: mmsimclr benchmark low-shot-svm_devkit CHECKPOINT data_root=PATH dataset_name=NAME
"""

from mmengine.config import read_base

from mmsimclr.protocols import LowShotSVM

with read_base():
    from ..._base_.datasets.features.devkit import *

default_scope = 'mmsimclr'
protocol = dict(type=LowShotSVM, train=train, test=test)
