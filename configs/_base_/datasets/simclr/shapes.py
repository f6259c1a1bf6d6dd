"""Shapes, the built-in images: 32 pixels, rendered in memory; online measures."""

from mmengine.config import read_base

from mmsimclr.datasets import Shapes
from mmsimclr.engine import OnlineKNNHook, RepresentationHealthHook
from mmsimclr.transforms import MultiView, PackImage, PackViews, SimCLRView

with read_base():
    from ..train_loader import *

view = dict(type=SimCLRView, size=32, strength=1.0, blur=False, scale=(0.3, 1.0))
train_dataloader.update(
    batch_size=128,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        type=Shapes,
        num_images=10_000,
        split='train',
        pipeline=[
            dict(type=MultiView, num_views=2, transforms=[view]),
            dict(type=PackViews),
        ]))

online_knn = dict(
    type=OnlineKNNHook,
    interval=5,
    bank=dict(type=Shapes, num_images=10_000, split='train', pipeline=[dict(type=PackImage)]),
    queries=dict(type=Shapes, num_images=2_000, split='test', pipeline=[dict(type=PackImage)]))
health = dict(type=RepresentationHealthHook, interval=2, held_out=dict(split='test', num_images=2_000))
