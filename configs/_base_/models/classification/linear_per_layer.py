"""A linear classifier on each of features 1 to 5 of the frozen encoder, pooled to about 9,000 dimensions."""

from mmsimclr.models import Classifier, LinearHead, ViewPreprocessor

model = dict(
    type=Classifier,
    frozen=True,
    # Encoder, scale of the images and number of classes come from the checkpoint and the data.
    data_preprocessor=dict(type=ViewPreprocessor, channels_last=True),
    heads=dict(
        stem=dict(type=LinearHead, feature='stem', norm=True, init_std=0.01),
        layer1=dict(type=LinearHead, feature='layer1', norm=True, init_std=0.01),
        layer2=dict(type=LinearHead, feature='layer2', norm=True, init_std=0.01),
        layer3=dict(type=LinearHead, feature='layer3', norm=True, init_std=0.01),
        layer4=dict(type=LinearHead, feature='layer4', norm=True, init_std=0.01)))

# Batch norm of the heads over all GPUs; plain batch norm on one device or on CPUs.
sync_bn = 'torch'
