"""Shape bias of a linear classifier of ImageNet's 1000 classes, mapped to 16 categories.

Command: mmsimclr benchmark shape-bias_cue-conflict CHECKPOINT protocol.classifier=CLASSIFIER
Expected: 38.9, 41.7 and 40.7 % for ResNet-50 of 1, 2 and 4 times the width (Papers With Code page of the
paper).
"""

from mmengine.config import read_base

from mmsimclr.protocols import ShapeBias

with read_base():
    from ..._base_.datasets.features.cue_conflict import *

default_scope = 'mmsimclr'
protocol = dict(type=ShapeBias, images=images)
