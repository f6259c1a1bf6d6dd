"""Heads."""

from .contrastive_head import ContrastiveHead
from .feature_pooling import POOLED_FEATURES, pool_feature, pooled_side
from .knn_classifier import KNNClassifier
from .linear_head import LinearHead
