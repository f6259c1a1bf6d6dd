"""Datasets that mmpretrain does not have in the form SimCLR needs."""

from .base import labels_of
from .cifar10 import CIFAR10
from .class_folders import ClassFolders
from .in_memory_images import InMemoryImages, as_fetched
from .listing import data_identity, list_sha256, with_same_samples
from .published import Birdsnap, Caltech101, IdentityImages, INaturalist2018, Places205, VOCMultiLabel
from .replace_unreadable import ReplaceUnreadable
from .shapes import Shapes
from .subsets import BalancedSubset, ImageSubset, ListedSubset, balanced_sample
from .unlabeled_image_folder import UnlabeledImageFolder
from .webdataset_shards import WebDatasetShards
