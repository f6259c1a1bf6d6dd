"""Models: algorithms and the parts they are assembled from."""

from .algorithms.classifier import Classifier
from .algorithms.simclr import SimCLR
from .backbones.downstream_resnet import DownstreamResNet, Stage4Head, StageMaps
from .backbones.resnet import ResNet
from .backbones.timm_encoder import TimmEncoder
from .heads.contrastive_head import ContrastiveHead
from .heads.knn_classifier import KNNClassifier
from .heads.linear_head import POOLED_FEATURES, LinearHead, pool_feature, pooled_side
from .losses.nt_xent_loss import NTXentLoss, contrastive_metrics, nt_xent_loss
from .losses.pair_losses import MarginTripletLoss, NTLogisticLoss
from .necks.nonlinear_neck import NonLinearNeck
from .preprocessors.view_preprocessor import ViewPreprocessor
