"""Prediction of transformations on the built-in images: colour, rotation, noise, Sobel's filter.

Command: mmsimclr benchmark transform-prediction_shapes CHECKPOINT
Hardware: two CPU cores.
Deviations from the paper: it does not describe its MLPs; here one hidden layer as wide as h, Adam, 20 epochs.
"""

from mmengine.config import read_base

from mmsimclr.protocols import TransformPrediction

with read_base():
    from ..._base_.datasets.features.shapes import *

default_scope = 'mmsimclr'
protocol = dict(
    type=TransformPrediction, train=train, test=test, stages=('pooled', 'projection'),
    transformations=('colour', 'rotation', 'noise', 'sobel'))
