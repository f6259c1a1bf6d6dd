"""A linear classifier, zero at the start, on the frozen encoder's last map averaged over its positions."""

from mmsimclr.models import Classifier, LinearHead, ViewPreprocessor

model = dict(
    type=Classifier,
    frozen=True,
    # Encoder, scale of the images and number of classes come from the checkpoint and the data.
    data_preprocessor=dict(type=ViewPreprocessor, channels_last=True),
    heads=dict(pooled=dict(type=LinearHead, feature='pooled', init_std=0.0)))
