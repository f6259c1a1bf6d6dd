"""Retrieval on your own images in val/IDENTITY/IMAGE: each is a query, and all others are the gallery.

Command: mmsimclr benchmark retrieval_folder CHECKPOINT data_root=PATH dataset_name=NAME
Deviations: no cameras; images as the encoder expects them, not 256 x 128.
"""

from mmsimclr.datasets import IdentityImages
from mmsimclr.protocols import Retrieval

dataset_name = 'a folder'
data_root = 'data/images'

default_scope = 'mmsimclr'
_images = dict(type=IdentityImages, data_root=data_root, source='val', pattern='(?P<identity>[^/]+)/')
protocol = dict(type=Retrieval, query=_images, gallery=_images, exclude='image', flip=True, normalise='after',
                size_px=None)
