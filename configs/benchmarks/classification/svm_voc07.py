"""Linear SVMs on VOC2007, features 1 to 5: 19 costs, chosen by 3-fold cross-validation on trainval.

Command: mmsimclr benchmark svm_voc07 CHECKPOINT
Expected: mAP 79.98 on the best layer, layer4, for simclr_resnet50_8xb32-coslr-200e_in1k (MMSelfSup's model
zoo).
Deviations: that figure counts training images with only difficult objects of a class as negatives of it;
protocol.ignored_as_negatives=True does so too.
"""

from mmengine.config import read_base

from mmsimclr.protocols import SVM

with read_base():
    from ..._base_.datasets.features.voc07 import *

default_scope = 'mmsimclr'
protocol = dict(type=SVM, train=train, test=test)
