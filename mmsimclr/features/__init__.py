"""Features of images from an encoder."""

from .embedder import Embedder, describe_stage, extract_features, of_projection_head
from .extraction import FeatureFiles, extract_to_files, extraction_sha256, read_features
from .fingerprint import ImageList, list_images, settings_sha256, weights_sha256
from .images import ImageFolder, Preparation, named_images
