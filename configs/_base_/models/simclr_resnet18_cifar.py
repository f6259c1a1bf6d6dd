"""SimCLR for 32x32 images: ResNet-18 with a 3x3 stem and no max pool, projection head 512-512-128."""

from mmsimclr.models import ContrastiveHead, NonLinearNeck, NTXentLoss, ResNet, SimCLR, ViewPreprocessor

model = dict(
    type=SimCLR,
    data_preprocessor=dict(type=ViewPreprocessor, channels_last=True),
    backbone=dict(type=ResNet, depth=18, stem='cifar', zero_init_residual=True),
    neck=dict(
        type=NonLinearNeck,
        in_channels=512,
        hid_channels=512,
        out_channels=128,
        num_layers=2),
    head=dict(type=ContrastiveHead, loss=dict(type=NTXentLoss), temperature=0.5))

sync_bn = 'torch'
