"""Heads."""

from .contrastive_head import ContrastiveHead
from .feature_pooling import POOLED_FEATURES, pool_feature, pooled_side
from .knn_classifier import KNNClassifier
from .linear_head import LinearHead
from .stage4_head import Stage4Head

__all__ = ['POOLED_FEATURES', 'ContrastiveHead', 'KNNClassifier', 'LinearHead', 'Stage4Head',
           'pool_feature', 'pooled_side']
