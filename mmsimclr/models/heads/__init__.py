"""Heads."""

from .contrastive_head import ContrastiveHead
from .knn_classifier import KNNClassifier
from .linear_head import POOLED_FEATURES, LinearHead, pool_feature, pooled_side
