"""Features of images from an encoder."""

from .embedder import Embedder, extract_features
from .extraction import FeatureFiles, extract_to_files, extraction_sha256, read_features
from .fingerprint import ImageList, list_images, settings_sha256, weights_sha256
from .images import ImageFolder, Preparation, named_images

__all__ = ['Embedder', 'FeatureFiles', 'ImageFolder', 'ImageList', 'Preparation', 'extract_features',
           'extract_to_files', 'extraction_sha256', 'list_images', 'named_images', 'read_features',
           'settings_sha256', 'weights_sha256']
