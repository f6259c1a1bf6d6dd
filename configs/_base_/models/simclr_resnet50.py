"""SimCLR with ResNet-50 and a two-layer projection head, 2048-2048-128; views scaled to [0, 1]."""

from mmsimclr.models import ContrastiveHead, NonLinearNeck, NTXentLoss, ResNet, SimCLR, ViewPreprocessor

model = dict(
    type=SimCLR,
    data_preprocessor=dict(type=ViewPreprocessor, channels_last=True),
    backbone=dict(type=ResNet, depth=50, zero_init_residual=True),
    neck=dict(
        type=NonLinearNeck,
        in_channels=2048,
        hid_channels=2048,
        out_channels=128,
        num_layers=2),
    head=dict(type=ContrastiveHead, loss=dict(type=NTXentLoss), temperature=0.1))

# Batch norm over all GPUs; plain batch norm on one device or on CPUs.
sync_bn = 'torch'
