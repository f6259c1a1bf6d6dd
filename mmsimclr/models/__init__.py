"""Models: algorithms and the parts they are assembled from."""

from .algorithms import SimCLR
from .backbones import ResNet
from .heads import ContrastiveHead, KNNClassifier
from .losses import NTXentLoss, contrastive_metrics, nt_xent_loss
from .necks import NonLinearNeck
from .preprocessors import ViewPreprocessor

__all__ = [
    'ContrastiveHead', 'KNNClassifier', 'NTXentLoss', 'NonLinearNeck', 'ResNet', 'SimCLR',
    'ViewPreprocessor', 'contrastive_metrics', 'nt_xent_loss',
]
