"""Features of images from an encoder."""

from .extractor import extract_features

__all__ = ['extract_features']
