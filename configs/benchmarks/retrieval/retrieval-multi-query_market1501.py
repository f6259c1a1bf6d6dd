"""Person re-identification on Market-1501, multiple queries: the mean of an identity's images of one camera.

Command: mmsimclr benchmark retrieval-multi-query_market1501 CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.datasets import IdentityImages
from mmsimclr.protocols import Retrieval

with read_base():
    from ..._base_.datasets.features.market1501 import *

dataset_name = 'Market-1501, multi-query'

default_scope = 'mmsimclr'
protocol = dict(
    type=Retrieval, query=query, gallery=gallery,
    multi_query=dict(type=IdentityImages, data_root=data_root, source='gt_bbox'),
    exclude='camera', junk=('-1',), flip=True, normalise='after', size_px=(256, 128))
