"""Each leaf of detection and segmentation trains a step and tests, on small images, with small encoders."""

import ast
import re

import numpy as np
import pytest
import torch
from documented_commands import check_command
from leaves import CONFIGS
from tiny_downstream_data import (
    shapes,
    write_camvid,
    write_cityscapes,
    write_coco2017,
    write_voc0712,
    write_voc12aug,
)

from mmsimclr.config import load_config
from mmsimclr.datasets import Shapes
from mmsimclr.models import ResNet
from mmsimclr.prepare.shapes import write_coco, write_voc
from mmsimclr.protocols import run_benchmark
from mmsimclr.reporting.summary import published_values

mmdet = pytest.importorskip('mmdet.datasets', reason='needs mmdet (tools/install.sh full)')
mmseg = pytest.importorskip('mmseg.datasets', reason='needs mmseg (tools/install.sh full)')

LEAVES = sorted(path for kind in ('detection', 'segmentation')
                for path in (CONFIGS / 'benchmarks' / kind).glob('*.py'))
GRAMMAR = re.compile(
    r'(?P<method>faster-rcnn-c4|mask-rcnn-fpn|mask-rcnn-c4|fcn-d8)_(?P<gpus>\d+)xb(?P<batch>\d+)-'
    r'(?P<schedule>steplr|polylr)-(?P<length>\d+)(?P<unit>e|k|)(?:-vissl)?_'
    r'(?P<data>voc0712|coco-folder|coco|devkit|shapes|voc12aug|cityscapes|camvid)(?:-(?P<side>\d+)px)?')
CHANNELS = 4
leaf = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


def test_the_promised_leaves_are_there():
    assert {(match['method'], match['length'] + match['unit'], match['data']) for match in map(
        GRAMMAR.fullmatch, (path.stem for path in LEAVES))} >= {
        ('faster-rcnn-c4', '24k', 'voc0712'),
        *((f'mask-rcnn-{neck}', f'{epochs}e', 'coco') for neck in ('fpn', 'c4') for epochs in (12, 24)),
        ('fcn-d8', '20k', 'voc12aug'), ('fcn-d8', '40k', 'cityscapes')}
    assert {path.parent.name for path in LEAVES if 'shapes' in path.stem} == {'detection', 'segmentation'}


@leaf
def test_settings_are_the_name_s(path):
    match, config = GRAMMAR.fullmatch(path.stem), load_config(path)
    number = {key: int(match[key] or 0) for key in ('gpus', 'batch', 'length', 'side')}
    assert config.train_dataloader.batch_size == number['batch']
    assert config.auto_scale_lr.base_batch_size == number['gpus'] * number['batch']
    length = number['length'] * (1000 if match['unit'] == 'k' else 1)
    assert config.train_cfg['max_epochs' if match['unit'] == 'e' else 'max_iters'] == length
    assert config.param_scheduler[-1].end == length
    assert config.sync_bn == 'torch'
    if number['side']:
        assert config.model.data_preprocessor['size'] == (number['side'], number['side'])
    milestones = config.param_scheduler[-1].get('milestones')
    if match['data'] == 'coco':
        assert milestones == ([8, 11] if length == 12 else [16, 22])
    if match['data'] == 'voc0712':
        assert milestones == [18_000, 22_000]
        assert config.optim_wrapper.optimizer.lr == (0.10 if 'vissl' in path.stem else 0.02)
    words = ' '.join(ast.get_docstring(ast.parse(path.read_text())).split())
    command = re.search(r'Command: (.*?) Hardware:', words)[1]
    assert path.stem in command
    for part in command.split(' && '):
        check_command(part.split())


@leaf
def test_no_config_names_weights_or_an_architecture(path):
    config = load_config(path)
    text = config.pretty_text
    assert 'pretrained' not in text and 'init_cfg' not in text and 'torchvision' not in text
    assert not {'depth', 'stem', 'width_multiplier'} & set(config.model.backbone)
    assert not {'mean', 'std'} & set(config.model.data_preprocessor)
    assert config.model.data_preprocessor.bgr_to_rgb


@pytest.mark.parametrize(('stem', 'metric', 'value'), [
    ('faster-rcnn-c4_8xb2-steplr-24k_voc0712', 'ap50_percent', 79.38),
    ('mask-rcnn-fpn_8xb2-steplr-12e_coco', 'box_ap75_percent', 42.4),
    ('mask-rcnn-fpn_8xb2-steplr-12e_coco', 'mask_ap_percent', 34.9),
    ('fcn-d8_4xb4-polylr-20k_voc12aug-512px', 'miou_percent', 64.03),
    ('faster-rcnn-c4_8xb2-steplr-24k-vissl_voc0712', 'ap50_percent', None),
    ('mask-rcnn-fpn_8xb2-steplr-24e_coco', 'box_ap_percent', None)])
def test_results_stand_beside_the_published_numbers_of_the_same_recipe(stem, metric, value):
    config = load_config(next(path for path in LEAVES if path.stem == stem))
    found = published_values(config.protocol.kind, config.dataset_name, metric)
    assert [other.value for other in found] == ([] if value is None else [value])


def test_the_shapes_leaves_name_the_classes_of_shapes():
    for path in LEAVES:
        if 'shapes' in path.stem:
            classes = load_config(path).test_dataloader.dataset.metainfo.classes
            assert tuple(classes)[-10:] == Shapes.METAINFO['classes']
            assert len(classes) == (11 if 'fcn' in path.stem else 10)


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    voc, coco = mmdet.VOCDataset.METAINFO['classes'], mmdet.CocoDataset.METAINFO['classes']
    seg = mmseg.PascalVOCDataset.METAINFO['classes'][1:]
    voc12, coco = write_voc12aug(root, seg), write_coco2017(root, coco)
    return {
        'voc0712': write_voc0712(root, voc), 'coco': coco, 'coco-folder': coco, 'voc12aug': voc12,
        'devkit': voc12, 'cityscapes': write_cityscapes(root, None), 'camvid': write_camvid(root),
        'shapes_voc': str(write_voc(shapes(splits=('train', 'val')), root / 'shapes_voc')),
        'shapes_coco': f'{write_coco(shapes(splits=("train", "val")), root / "shapes_coco")}/'}


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Write a ResNet-50 with the 7x7 stem, and a ResNet-18 with the CIFAR stem for the shapes leaves."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp('encoders')
    for name, settings in (('resnet50', dict(depth=50)), ('shapes', dict(depth=18, stem='cifar'))):
        encoder = ResNet(**settings, base_channels=CHANNELS, zero_init_residual=False)
        torch.save(encoder.state_dict(), root / f'{name}.pth')
    return root


def shrink(config, root):
    """Point a config to small data, and reduce its sizes, but nothing of its structure."""
    coco = 'COCO' in config.test_evaluator.type.__name__
    for part in ('train_dataloader', 'test_dataloader'):
        loader = config[part]
        loader.update(num_workers=0, persistent_workers=False)
        for dataset in loader.dataset.get('datasets', [loader.dataset]):
            dataset.data_root = root
            for step in dataset.pipeline:
                if 'scales' in step:
                    step.scales = [(96, 64)]
                if 'scale' in step:
                    step.scale = (64, 64)
                if 'crop_size' in step:
                    step.crop_size = (64, 64)
                if 'filter_cfg' in dataset:
                    dataset.filter_cfg.min_size = 1
    config.train_dataloader.batch_size = 2
    config.train_cfg.update({'max_epochs' if 'max_epochs' in config.train_cfg else 'max_iters': 1})
    if coco:
        config.test_evaluator.ann_file = f'{root}annotations/instances_val2017.json'
    if 'size' in config.model.data_preprocessor:
        config.model.data_preprocessor['size'] = (64, 64)
    if config.model.test_cfg.get('mode') == 'slide':
        config.model.test_cfg.update(crop_size=(64, 64), stride=(40, 40))
    if 'neck' in config.model:
        config.model.test_cfg.rpn.update(max_per_img=4)
        config.model.train_cfg.rcnn.sampler.update(num=8)
        config.model.roi_head.bbox_head.update(fc_out_channels=32)


@leaf
@pytest.mark.filterwarnings('ignore')
def test_leaf_trains_a_step_and_is_tested(path, roots, checkpoints, tmp_path):
    name = GRAMMAR.fullmatch(path.stem)['data']
    config = load_config(path, work_dir=tmp_path / 'run')
    dataset = config.test_dataloader.dataset.type.__name__
    layout = name if name != 'shapes' else 'shapes_coco' if dataset == 'CocoDataset' else 'shapes_voc'
    shrink(config, roots[layout])
    encoder = checkpoints / ('shapes.pth' if name == 'shapes' else 'resnet50.pth')
    result = run_benchmark(config, str(encoder))
    assert result.tensors_loaded == ((120, 120) if name == 'shapes' else (318, 318))
    assert result.settings['steps'] >= 1
    assert all(0 <= value <= 100 for value in result.metrics.values())
    expected = {'voc0712': 'ap50_percent', 'coco': 'mask_ap75_percent', 'camvid': 'miou_percent'}.get(name)
    assert expected is None or expected in result.metrics
    with np.load(tmp_path / 'run/per_image.npz') as kept:
        assert len(kept['images']) == 4
    trained = torch.load(next((tmp_path / 'run').glob('*.pth')), weights_only=False)['state_dict']
    start = torch.load(encoder)
    shared = 'roi_head.shared_head.'
    for key in ('conv1.weight', 'layer2.0.conv1.weight', 'layer4.1.conv1.weight'):
        after = trained.get(f'backbone.{key}', trained.get(f'{shared}{key}'))
        assert after.shape == start[key].shape and torch.isfinite(after).all()
        moved = (after - start[key]).norm() / start[key].norm()
        assert 0 < moved < 0.5, f'{key}: it started elsewhere, or did not learn'
