"""The paper's pictures of a representation, on ImageNet-1k: cosines, spectrum, t-SNE, histograms of crops.

Command: mmsimclr benchmark representation_in1k CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import Representation
from mmsimclr.transforms import RandomResizedCrop, SimCLRView

with read_base():
    from ..._base_.datasets.features.imagenet import dataset_name, test  # noqa: F401

default_scope = 'mmsimclr'
protocol = dict(
    type=Representation, images=test,
    crop=dict(type=RandomResizedCrop, size=224),
    view=dict(type=SimCLRView, size=224))
