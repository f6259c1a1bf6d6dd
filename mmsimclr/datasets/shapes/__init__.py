"""Shapes: procedural images with exact labels, boxes and masks, and no files."""

from .dataset import Shapes, ShapesImage
from .geometry import CLASSES

__all__ = ['CLASSES', 'Shapes', 'ShapesImage']
