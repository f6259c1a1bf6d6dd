"""Linear SVMs on k = 1 to 16 images of each class of Shapes, five samples; the cost is chosen on test.

Command: mmsimclr benchmark low-shot-svm_shapes CHECKPOINT
Deviations: 3 costs in place of 19, fewer k and few images, so that it takes 25 s on two cores;
9 negatives for each positive, as there are 9 other classes.
"""

from mmengine.config import read_base

from mmsimclr.protocols import LowShotSVM

with read_base():
    from ..._base_.datasets.features.shapes import *

train.update(num_images=500)
test.update(num_images=1_000)

default_scope = 'mmsimclr'
protocol = dict(type=LowShotSVM, train=train, test=test, k=(1, 4, 16), negatives_per_positive=9,
                costs=(1.0, 10.0, 0.5 ** 4))
