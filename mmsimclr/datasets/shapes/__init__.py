"""Shapes: procedural images with exact labels, boxes and masks, and no files."""

from .dataset import OBJECTS, Shapes, ShapesImage
from .geometry import CLASSES
