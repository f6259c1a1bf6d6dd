"""Hooks."""

from .batch_norm_momentum import BatchNormMomentumHook
from .finite_loss import FiniteLossHook
from .frozen_encoder import FrozenEncoderHook
from .online_knn import OnlineKNNHook
from .run_summary import RunSummaryHook

__all__ = ['BatchNormMomentumHook', 'FiniteLossHook', 'FrozenEncoderHook', 'OnlineKNNHook', 'RunSummaryHook']
