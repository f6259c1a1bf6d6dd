"""Prediction of transformations on CIFAR-10, 10,000 training images: colour, rotation, noise, Sobel's filter.

Command: mmsimclr benchmark transform-prediction_cifar10 CHECKPOINT
Hardware: two CPU cores.
Expected: no published number for CIFAR-10. The paper's Table 3 is of ImageNet and ResNet-50.
Deviations from the paper: it does not describe its MLPs; here one hidden layer as wide as h, Adam, 20 epochs.
"""

from mmengine.config import read_base

from mmsimclr.protocols import TransformPrediction

with read_base():
    from ..._base_.datasets.features.cifar10 import *

default_scope = 'mmsimclr'
train.update(num_images=10_000)
protocol = dict(
    type=TransformPrediction, train=train, test=test, stages=('pooled', 'projection'),
    transformations=('colour', 'rotation', 'noise', 'sobel'))
