"""A folder of images of one's own, of any depth and without labels; the paper's policy, 224 pixels."""

from torch.utils.data import default_collate

from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.engine import SeededSampler
from mmsimclr.transforms import LoadImage, MultiView, PackViews, SimCLRView

data_root = 'data/images'
view = dict(type=SimCLRView, size=224, strength=1.0, blur=True)
train_pipeline = [
    dict(type=LoadImage),
    dict(type=MultiView, num_views=2, transforms=[view]),
    dict(type=PackViews),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=UnlabeledImageFolder, data_root=data_root, pipeline=train_pipeline))
