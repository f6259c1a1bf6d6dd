"""Images of several Shapes in COCO's layout, 64 pixels: 800 to train on, 200 to test on."""

from mmengine.config import read_base

with read_base():
    from .coco_folder import *

dataset_name = 'Shapes'
data_root = 'data/shapes_coco/'
metainfo = dict(classes=(
    'circle', 'square', 'triangle', 'star', 'cross', 'heart', 'hexagon', 'crescent', 'ring', 'flower'))
side_px = 64
train_pipeline[2].update(scale=(side_px, side_px))
test_pipeline[1].update(scale=(side_px, side_px))
for _loader, _pipeline in ((train_dataloader, train_pipeline), (test_dataloader, test_pipeline)):
    _loader.update(batch_size=8)
    _loader.dataset.update(data_root=data_root, metainfo=metainfo, pipeline=_pipeline)
test_evaluator.update(ann_file=f'{data_root}annotations/instances_val2017.json')
