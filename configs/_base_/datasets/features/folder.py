"""Your own images in folders named by their classes.

Layout: train/CLASS/IMAGE and val/CLASS/IMAGE, or CLASS/IMAGE, of which a fifth is held out for validation.
"""

from mmsimclr.datasets import ClassFolders

dataset_name = 'a folder'
data_root = 'data/images'
train = dict(type=ClassFolders, data_root=data_root, split='train', pipeline=[])
test = dict(type=ClassFolders, data_root=data_root, split='val', pipeline=[])
