"""Checkpoints: read safely, loaded completely or not at all."""

from .encoder_weights import IMAGENET_MEAN, IMAGENET_STD, UNIT_RANGE, EncoderWeights, InputScale
from .errors import (CheckpointError, DamagedCheckpointError, IncompleteEncoderError, LayoutError,
                     UnsafeCheckpointError, UnsupportedEncoderError)

__all__ = [
    'IMAGENET_MEAN', 'IMAGENET_STD', 'UNIT_RANGE', 'CheckpointError', 'DamagedCheckpointError',
    'EncoderWeights', 'IncompleteEncoderError', 'InputScale', 'LayoutError', 'UnsafeCheckpointError',
    'UnsupportedEncoderError',
]
