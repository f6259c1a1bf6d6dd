"""Person re-identification on SYSU-30k: 1,000 queries, one right image each among 478,730 others.

Command: mmsimclr benchmark retrieval_sysu30k CHECKPOINT
Expected: 10.9 % rank-1 (Papers With Code page of the paper, which does not say for which encoder).
"""

from mmsimclr.datasets import IdentityImages
from mmsimclr.protocols import Retrieval

dataset_name = 'SYSU-30k'
data_root = 'data/sysu_test_set_all'

default_scope = 'mmsimclr'
protocol = dict(
    type=Retrieval,
    query=dict(type=IdentityImages, data_root=data_root, source='query'),
    gallery=dict(type=IdentityImages, data_root=data_root, source='gallery'),
    exclude='camera', junk=('-1',), flip=True, normalise='first', size_px=(256, 128))
