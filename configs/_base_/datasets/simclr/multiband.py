"""Your own images of any channels and depth of numbers: a folder of any depth, without labels; 96 pixels.

Views have no colours to change. What they may differ in, because it says nothing about what is seen, depends
on how the images were taken; docs/how_to/any_images.md shows examples. For photographs there is folder.py.
"""

from mmengine.config import read_base

from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.engine import ClippedImagesHook, RepresentationHealthHook
from mmsimclr.transforms import (
    ChannelDropout, ChannelJitter, GaussianNoise, LoadChannels, MultiView, PackViews, Rotate90, SimCLRView)

with read_base():
    from ..train_loader import *

data_root = 'data/images'
# No side is up, but size means something. Stains, lamps and exposures differ, and so does the focus;
# detectors are noisy.
microscopy = [
    dict(type=SimCLRView, size=96, strength=0, grey_prob=0, blur=True, scale=(0.4, 1.0)),
    dict(type=Rotate90),
    dict(type=ChannelJitter, gain=0.4, offset=0.1, gamma=1.5),
    dict(type=GaussianNoise, std=(0.0, 0.05), prob=0.5)]
# No side is up; fields and towns are of any size. Sun and air change each band a little, haze adds to it; at
# metres a pixel a blur would take away what is there. No single band is to be enough.
satellite = [
    dict(type=SimCLRView, size=96, strength=0, grey_prob=0, blur=False, scale=(0.2, 1.0)),
    dict(type=Rotate90),
    dict(type=ChannelJitter, gain=0.2, offset=0.05, gamma=1.1),
    dict(type=ChannelDropout, max_channels=2, prob=0.3),
    dict(type=GaussianNoise, std=(0.0, 0.02), prob=0.5)]
train_pipeline = [
    dict(type=LoadChannels, channels=3),
    dict(type=MultiView, num_views=2, transforms=satellite),
    dict(type=PackViews, keys=('sample_idx', 'clipped')),
]
train_dataloader.update(
    batch_size=256,
    dataset=dict(type=UnlabeledImageFolder, data_root=data_root, split='train', pipeline=train_pipeline))

# As in folder.py: one image in twenty is not trained on, and shows the health of the representation.
health = dict(type=RepresentationHealthHook, interval=10, held_out=dict(split='held_out'))
clipped = dict(type=ClippedImagesHook)
