"""Datasets that mmpretrain does not have in the form SimCLR needs."""

from .cifar10 import CIFAR10
from .shapes import Shapes
from .unlabeled_image_folder import UnlabeledImageFolder

__all__ = ['CIFAR10', 'Shapes', 'UnlabeledImageFolder']
