"""A linear classifier on the encoder's last map averaged over its positions; all of it is trained."""

from mmsimclr.models import Classifier, LinearHead, ViewPreprocessor

model = dict(
    type=Classifier,
    frozen=False,
    # Encoder, scale of the images and number of classes come from the checkpoint and the data.
    data_preprocessor=dict(type=ViewPreprocessor, channels_last=True),
    heads=dict(pooled=dict(type=LinearHead, feature='pooled', init_std=0.01)))

# Batch norm over all GPUs; plain batch norm on one device or on CPUs.
sync_bn = 'torch'
