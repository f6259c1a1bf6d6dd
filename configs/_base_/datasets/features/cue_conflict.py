"""Stimuli whose shape and texture are of different categories, SHAPE1-TEXTURE2.png in any folders."""

from mmsimclr.datasets import UnlabeledImageFolder

dataset_name = 'cue conflict'
data_root = 'data/cue_conflict'
images = dict(type=UnlabeledImageFolder, data_root=data_root, pipeline=[])
