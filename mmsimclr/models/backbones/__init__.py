"""Encoders."""

from .downstream_resnet import DownstreamResNet
from .resnet import ResNet
