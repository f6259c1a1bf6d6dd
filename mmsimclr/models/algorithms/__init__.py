"""Algorithms: whole models that MMEngine's Runner trains."""

from .classifier import Classifier
from .simclr import SimCLR
