"""Datasets that mmpretrain does not have in the form SimCLR needs."""

from .base import labels_of
from .birdsnap import Birdsnap
from .caltech101 import Caltech101
from .cifar10 import CIFAR10
from .class_folders import ClassFolders
from .identity_images import IdentityImages
from .in_memory_images import InMemoryImages, as_fetched
from .inaturalist2018 import INaturalist2018
from .listing import list_sha256
from .places205 import Places205
from .replace_unreadable import ReplaceUnreadable
from .shapes import Shapes
from .subsets import BalancedSubset, ImageSubset, ListedSubset, balanced_sample
from .unlabeled_image_folder import UnlabeledImageFolder
from .voc_multilabel import VOCMultiLabel
from .webdataset_shards import WebDatasetShards
