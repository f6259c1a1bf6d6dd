"""Retrieval on your own images, listed with identities and cameras in query.csv and gallery.csv.

Command: mmsimclr benchmark retrieval_csv CHECKPOINT data_root=PATH dataset_name=NAME
Deviations: images as the encoder expects them, not 256 x 128 (protocol.size_px=[256,128]).
"""

from mmsimclr.datasets import IdentityImages
from mmsimclr.protocols import Retrieval

dataset_name = 'a CSV'
data_root = 'data/images'

default_scope = 'mmsimclr'
protocol = dict(
    type=Retrieval,
    query=dict(type=IdentityImages, data_root=data_root, source='query.csv'),
    gallery=dict(type=IdentityImages, data_root=data_root, source='gallery.csv'),
    exclude='camera', flip=True, normalise='after', size_px=None)
