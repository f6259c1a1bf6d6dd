"""Prediction of transformations on ImageNet-1k: colour, rotation, noise, Sobel's filter.

Command: mmsimclr benchmark transform-prediction_in1k CHECKPOINT
Hardware: meant for one GPU; not run here.
Expected: Chen et al. 2020, Table 3, ResNet-50: rotation 67.6 % from h and 25.6 % from g(h).
Deviations from the paper: it does not describe its MLPs; here one hidden layer as wide as h, Adam, 20 epochs.
"""

from mmengine.config import read_base

from mmsimclr.protocols import TransformPrediction

with read_base():
    from ..._base_.datasets.features.imagenet import *

default_scope = 'mmsimclr'
protocol = dict(
    type=TransformPrediction, train=train, test=test, stages=('pooled', 'projection'),
    transformations=('colour', 'rotation', 'noise', 'sobel'))
