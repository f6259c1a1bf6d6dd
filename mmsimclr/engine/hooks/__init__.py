"""Hooks."""

from .finite_loss import FiniteLossHook
from .online_knn import OnlineKNNHook
from .run_summary import RunSummaryHook

__all__ = ['FiniteLossHook', 'OnlineKNNHook', 'RunSummaryHook']
