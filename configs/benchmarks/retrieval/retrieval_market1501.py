"""Person re-identification on Market-1501, single query.

Command: mmsimclr benchmark retrieval_market1501 CHECKPOINT
"""

from mmengine.config import read_base

from mmsimclr.protocols import Retrieval

with read_base():
    from ..._base_.datasets.features.market1501 import *

default_scope = 'mmsimclr'
protocol = dict(type=Retrieval, query=query, gallery=gallery, exclude='camera', junk=('-1',), flip=True,
                normalise='after', size_px=(256, 128))
