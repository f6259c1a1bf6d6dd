"""The built-in images: Shapes, 32 pixels, rendered in memory; online k-NN."""

from torch.utils.data import default_collate

from mmsimclr.datasets import Shapes
from mmsimclr.engine import OnlineKNNHook, SeededSampler
from mmsimclr.transforms import (
    ColorJitter, MultiView, PackImage, PackViews, RandomGrayscale, RandomHorizontalFlip,
    RandomResizedCrop)

strength = 1.0

view_pipeline = [
    dict(type=RandomResizedCrop, size=32, scale=(0.2, 1.0), interpolation='bilinear', antialias=False),
    dict(type=RandomHorizontalFlip, prob=0.5),
    dict(type=ColorJitter, prob=0.8, brightness=0.8 * strength, contrast=0.8 * strength,
         saturation=0.8 * strength, hue=0.2 * strength),
    dict(type=RandomGrayscale, prob=0.2),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(
        type=Shapes,
        num_images=10_000,
        split='train',
        pipeline=[
            dict(type=MultiView, num_views=2, transforms=view_pipeline),
            dict(type=PackViews),
        ]))

online_knn = dict(
    type=OnlineKNNHook,
    interval=5,
    bank=dict(type=Shapes, num_images=10_000, split='train', pipeline=[dict(type=PackImage)]),
    queries=dict(type=Shapes, num_images=2_000, split='test', pipeline=[dict(type=PackImage)]))
