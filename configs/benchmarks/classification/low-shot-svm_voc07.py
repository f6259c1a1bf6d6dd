"""Linear SVMs on k = 1 to 96 images of each class of VOC2007, five samples; the cost is chosen on test.

Command: mmsimclr benchmark low-shot-svm_voc07 CHECKPOINT
Expected: mAP 35.02, 42.79, 54.87, 61.91, 67.38, 71.88, 75.56 and 77.4 for k = 1, 2, 4, 8, 16, 32, 64 and 96
and simclr_resnet50_8xb32-coslr-200e_in1k (MMSelfSup's model zoo).
"""

from mmengine.config import read_base

from mmsimclr.protocols import LowShotSVM

with read_base():
    from ..._base_.datasets.features.voc07 import *

default_scope = 'mmsimclr'
protocol = dict(type=LowShotSVM, train=train, test=test)
