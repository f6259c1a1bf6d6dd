"""Encoders."""

from .downstream_resnet import DownstreamResNet, StageMaps
from .resnet import ResNet
from .timm_encoder import TimmEncoder
