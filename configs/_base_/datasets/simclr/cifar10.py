"""CIFAR-10 with the paper's policy for it: strength 0.5, no blur, 32 pixels; online measures."""

from mmengine.config import read_base

from mmsimclr.datasets import CIFAR10
from mmsimclr.engine import OnlineKNNHook, RepresentationHealthHook
from mmsimclr.transforms import MultiView, PackImage, PackViews, SimCLRView

with read_base():
    from ..train_loader import *

data_root = 'data/cifar10'
view = dict(type=SimCLRView, size=32, strength=0.5, blur=False)
train_dataloader.update(
    batch_size=512,
    dataset=dict(
        type=CIFAR10,
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type=MultiView, num_views=2, transforms=[view]),
            dict(type=PackViews),
        ]))

online_knn = dict(
    type=OnlineKNNHook,
    interval=10,
    bank=dict(type=CIFAR10, data_root=data_root, split='train', pipeline=[dict(type=PackImage)]),
    queries=dict(type=CIFAR10, data_root=data_root, split='test', pipeline=[dict(type=PackImage)]))
health = dict(type=RepresentationHealthHook, interval=10, held_out=dict(split='test', num_images=None))
