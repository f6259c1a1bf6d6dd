"""Market-1501 for retrieval, in the folders of its archive."""

from mmsimclr.datasets import IdentityImages

dataset_name = 'Market-1501'
data_root = 'data/Market-1501-v15.09.15'
query = dict(type=IdentityImages, data_root=data_root, source='query')
gallery = dict(type=IdentityImages, data_root=data_root, source='bounding_box_test')
