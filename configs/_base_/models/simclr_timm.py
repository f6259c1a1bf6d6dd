"""SimCLR with an encoder of timm, which a leaf names, and a projection head C-C-128 on its C features."""

from mmsimclr.models import ContrastiveHead, NonLinearNeck, NTXentLoss, SimCLR, TimmEncoder, ViewPreprocessor

model = dict(
    type=SimCLR,
    data_preprocessor=dict(type=ViewPreprocessor, channels_last=True),
    backbone=dict(type=TimmEncoder, name='convnext_atto'),
    # C is found by one image.
    neck=dict(type=NonLinearNeck, out_channels=128, num_layers=2),
    head=dict(type=ContrastiveHead, loss=dict(type=NTXentLoss), temperature=0.2))

sync_bn = 'torch'
