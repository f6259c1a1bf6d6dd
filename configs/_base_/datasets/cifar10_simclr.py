"""CIFAR-10 with the paper's policy for it: strength 0.5, no blur, 32 pixels; online k-NN."""

from torch.utils.data import default_collate

from mmsimclr.datasets import CIFAR10
from mmsimclr.engine import OnlineKNNHook, SeededSampler
from mmsimclr.transforms import MultiView, PackImage, PackViews, SimCLRView

data_root = 'data/cifar10'
view = dict(type=SimCLRView, size=32, strength=0.5, blur=False)
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
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
