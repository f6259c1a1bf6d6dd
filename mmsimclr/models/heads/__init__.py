"""Heads."""

from .contrastive_head import ContrastiveHead
from .knn_classifier import KNNClassifier

__all__ = ['ContrastiveHead', 'KNNClassifier']
