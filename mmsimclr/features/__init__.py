"""Features of images from an encoder."""

from .embedder import Embedder
from .extractor import extract_features
from .files import FeatureFiles, extract_to_files, extraction_sha256, read_features
from .fingerprint import ImageList, list_images, settings_sha256, weights_sha256
from .images import ImageFolder, named_images
from .preparation import Preparation

__all__ = ['Embedder', 'FeatureFiles', 'ImageFolder', 'ImageList', 'Preparation', 'extract_features',
           'extract_to_files', 'extraction_sha256', 'list_images', 'named_images', 'read_features',
           'settings_sha256', 'weights_sha256']
