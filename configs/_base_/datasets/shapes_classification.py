"""The built-in images to train classifiers on: Shapes, 32 pixels, random flips."""

from mmengine.dataset import DefaultSampler
from torch.utils.data import default_collate

from mmsimclr.datasets import Shapes
from mmsimclr.engine import SeededSampler
from mmsimclr.transforms import PackImage, RandomHorizontalFlip, RandomView

dataset_name = 'Shapes'
train_pipeline = [
    dict(type=RandomView, transforms=[dict(type=RandomHorizontalFlip)]),
    dict(type=PackImage),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=Shapes, num_images=4_000, split='train', pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=256,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=Shapes, num_images=2_000, split='test', pipeline=[dict(type=PackImage)]))
