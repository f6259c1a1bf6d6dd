"""Your own images: a folder of any depth, without labels; the paper's policy, 224 pixels."""

from mmengine.config import read_base

from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.engine import RepresentationHealthHook
from mmsimclr.transforms import LoadImage, MultiView, PackViews, SimCLRView

with read_base():
    from ..train_loader import *

data_root = 'data/images'
view = dict(type=SimCLRView, size=224, strength=1.0, blur=True)
train_pipeline = [
    dict(type=LoadImage),
    dict(type=MultiView, num_views=2, transforms=[view]),
    dict(type=PackViews),
]
train_dataloader.update(
    batch_size=256,
    dataset=dict(type=UnlabeledImageFolder, data_root=data_root, split='train', pipeline=train_pipeline))

# One image in twenty is not trained on, and shows the health of the representation; split='all' trains on
# all, and the hook wants images of yours then, or to be left out.
health = dict(type=RepresentationHealthHook, interval=10, held_out=dict(split='held_out'))
