"""Linear SVMs on Shapes, features 1 to 5, each class against the rest: three costs, 3-fold cross-validation.

Command: mmsimclr benchmark svm_shapes CHECKPOINT
Deviations: 3 costs in place of 19, and few images, so that it takes half a minute on two cores.
"""

from mmengine.config import read_base

from mmsimclr.protocols import SVM

with read_base():
    from ..._base_.datasets.features.shapes import *

train.update(num_images=500)
test.update(num_images=1_000)

default_scope = 'mmsimclr'
protocol = dict(type=SVM, train=train, test=test, costs=(1.0, 10.0, 0.5 ** 4))
