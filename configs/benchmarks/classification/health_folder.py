"""Label-free measures on your own images: rank, spectrum, uniformity of the features of all of them.

Command: mmsimclr benchmark health_folder CHECKPOINT data_root=PATH dataset_name=NAME
"""

from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.protocols import Health

default_scope = 'mmsimclr'
dataset_name = 'a folder'
data_root = 'data/images'
protocol = dict(type=Health, images=dict(type=UnlabeledImageFolder, data_root=data_root, pipeline=[]))
