"""The paper's pictures of a representation, on Shapes: cosines, spectrum, t-SNE, histograms of crops.

Command: mmsimclr benchmark representation_shapes CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import Representation
from mmsimclr.transforms import RandomResizedCrop, SimCLRView

with read_base():
    from ..._base_.datasets.features.shapes import *

default_scope = 'mmsimclr'
test.update(num_images=400)
protocol = dict(
    type=Representation, images=test,
    crop=dict(type=RandomResizedCrop, size=32, scale=(0.2, 1.0)),
    view=dict(type=SimCLRView, size=32, strength=1.0, blur=False, scale=(0.2, 1.0)))
