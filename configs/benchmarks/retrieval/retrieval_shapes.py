"""Retrieval on Shapes in Market-1501's layout: an object under other backgrounds, lights and scales.

Command: mmsimclr benchmark retrieval_shapes CHECKPOINT
Data: mmsimclr prepare shapes market data/shapes_market --train 0 --val 0 --test 100
--image-size 32
Deviations: images as the encoder expects them, not 256 x 128.
"""

from mmsimclr.datasets import IdentityImages
from mmsimclr.protocols import Retrieval

dataset_name = 'Shapes'
data_root = 'data/shapes_market/test'

default_scope = 'mmsimclr'
protocol = dict(
    type=Retrieval,
    query=dict(type=IdentityImages, data_root=data_root, source='query'),
    gallery=dict(type=IdentityImages, data_root=data_root, source='bounding_box_test'),
    exclude='camera', flip=True, normalise='after', size_px=None)
