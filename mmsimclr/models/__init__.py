"""Models: algorithms and the parts they are assembled from."""

from .algorithms import Classifier, SimCLR
from .backbones import DownstreamResNet, ResNet
from .heads import (
    POOLED_FEATURES,
    ContrastiveHead,
    KNNClassifier,
    LinearHead,
    Stage4Head,
    pool_feature,
    pooled_side,
)
from .losses import NTXentLoss, contrastive_metrics, nt_xent_loss
from .necks import NonLinearNeck
from .preprocessors import ViewPreprocessor

__all__ = [
    'POOLED_FEATURES', 'Classifier', 'ContrastiveHead', 'DownstreamResNet', 'KNNClassifier', 'LinearHead',
    'NTXentLoss', 'NonLinearNeck', 'ResNet', 'SimCLR', 'Stage4Head', 'ViewPreprocessor',
    'contrastive_metrics', 'nt_xent_loss', 'pool_feature', 'pooled_side',
]
