"""Detectors and segmenters start from the encoder, all of it, and from nothing else."""

import copy
import functools
import json
import re

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmsimclr.checkpoints import CheckpointError
from mmsimclr.config import ConfigError, load_config
from mmsimclr.datasets import Shapes
from mmsimclr.datasets.shapes_export import write_coco, write_voc
from mmsimclr.models import ResNet
from mmsimclr.protocols import Benchmark, EncoderSource, check_benchmark, read_result, run_benchmark
from mmsimclr.protocols.downstream import FineTuning
from mmsimclr.protocols.predictor import Predictor

pytest.importorskip('mmdet', reason='needs mmdet (tools/install.sh full)')
pytest.importorskip('mmseg', reason='needs mmseg (tools/install.sh full)')
pytestmark = pytest.mark.filterwarnings('ignore')

ENCODER = dict(depth=18, base_channels=4, stem='cifar', zero_init_residual=False)
KINDS = {'c4': 'detection/faster-rcnn-c4_1xb8-steplr-400_shapes',
         'fpn': 'detection/mask-rcnn-fpn_1xb8-steplr-400_shapes',
         'fcn': 'segmentation/fcn-d8_1xb16-polylr-400_shapes'}
every_kind = pytest.mark.parametrize('kind', KINDS)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    splits = {split: Shapes(num_images=4, image_size=48, split='train', seed=seed, objects='multi',
                            max_objects=2) for seed, split in enumerate(('train', 'val'))}
    return dict(voc=write_voc(splits, root / 'voc'), coco=write_coco(splits, root / 'coco'))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Write an encoder whose norms have statistics of their own, and which says its input scale."""
    torch.manual_seed(0)
    encoder = ResNet(**ENCODER)
    for key, value in encoder.state_dict().items():
        if 'bn' in key or 'downsample.1' in key:
            value.copy_(torch.rand(value.shape) + 0.5)
    path = tmp_path_factory.mktemp('encoder') / 'encoder.pth'
    record = dict(version=1, encoder=encoder.settings, neck={},
                  input=dict(mean=[10., 20., 30.], std=[40., 50., 60.], stated=True))
    torch.save(dict(meta=dict(mmsimclr=record), state_dict={
        f'backbone.{key}': value for key, value in encoder.state_dict().items()}), path)
    return path


def config_of(kind, root, data, work_dir):
    config = load_config(root / f'configs/benchmarks/{KINDS[kind]}.py', work_dir=work_dir)
    folder = str(data['coco' if kind == 'fpn' else 'voc'])
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.dataset.data_root = folder
        for step in loader.dataset.pipeline:
            if 'scale' in step:
                step.scale = (48, 48)
    if kind == 'fpn':
        config.test_evaluator.ann_file = f'{folder}/annotations/instances_val2017.json'
    if kind == 'fcn':
        config.model.data_preprocessor['size'] = (48, 48)
        config.test_dataloader.batch_size = 1
    config.train_cfg.max_iters = 2
    return config


def built(kind, root, data, source, work_dir):
    config = config_of(kind, root, data, work_dir)
    benchmark = Benchmark(source, config, work_dir, work_dir / 'features', device='cpu')
    return FineTuning.build(benchmark, copy.deepcopy(config))


@every_kind
def test_every_tensor_and_every_feature_is_the_encoder_s(kind, root, data, checkpoint, tmp_path):
    source = EncoderSource(checkpoint)
    runner = built(kind, root, data, source, tmp_path)
    model = runner.model
    model.init_weights()                                      # MMEngine calls it when training begins
    encoder, report = source.build(out_indices=(0, 1, 2, 3))
    assert report.matched == report.expected == 120
    left = dict(encoder.state_dict())
    tensors = dict(model.backbone.state_dict())
    if kind == 'c4':
        tensors |= {key: value for key, value in model.roi_head.shared_head.state_dict().items()
                    if not key.startswith('norm.')}
    for key, value in tensors.items():
        torch.testing.assert_close(value, left.pop(key), rtol=0, atol=0)
    assert not left, 'tensors of the encoder that have no place'

    # An RGB image, which the libraries' loaders hand over as BGR.
    rgb = torch.randint(0, 256, (3, 48, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data_sample = runner.test_dataloader.dataset[0]['data_samples']
    inputs = model.data_preprocessor(pseudo_collate([dict(
        inputs=rgb[[2, 1, 0]], data_samples=data_sample)]))['inputs'][..., :48, :48]
    mean, std = (torch.tensor(values)[:, None, None] for values in (source.input.mean, source.input.std))
    model.eval()
    with torch.no_grad():
        want = encoder((rgb - mean)[None] / std)
        found = model.backbone(inputs)
        if kind == 'c4':
            head = model.roi_head.shared_head
            torch.testing.assert_close(head.layer4(found[0]), want[3], rtol=1e-5, atol=1e-5)
        for index, features in zip(model.backbone.out_indices, found, strict=True):
            torch.testing.assert_close(features, want[index], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope='module')
def trained(root, data, checkpoint, tmp_path_factory):
    """Return a function from a kind to the result, and the folder, of two steps of training."""
    @functools.cache
    def train(kind):
        folder = tmp_path_factory.mktemp(kind)
        return run_benchmark(config_of(kind, root, data, folder), str(checkpoint), device='cpu'), folder
    return train


@every_kind
def test_it_trains_and_says_what_it_measured(kind, trained, checkpoint):
    result, folder = trained(kind)
    assert read_result(folder / 'result.json') == result
    assert result.tensors_loaded == (120, 120) and result.checkpoint == str(checkpoint)
    assert result.num_images == dict(train=4, test=4) and result.dataset == 'Shapes'
    assert result.settings['steps'] == 2 and result.settings['global_batch'] == 2
    assert result.settings['batch_norm'] == 'per process'
    assert result.settings['input'] == dict(mean=[10, 20, 30], std=[40, 50, 60], stated=True)
    wanted = {'c4': {f'{ap}{way}_percent' for ap in ('ap', 'ap50', 'ap75') for way in ('', '_area')},
              'fpn': {f'{what}_{ap}_percent' for what in ('box', 'mask') for ap in ('ap', 'ap50', 'ap75')},
              'fcn': {'miou_percent', 'mean_class_accuracy_percent', 'pixel_accuracy_percent'}}[kind]
    assert set(result.metrics) == wanted
    for key, values in result.settings['by_class'].items():
        if key in result.metrics:
            assert np.mean(list(values.values())) == pytest.approx(result.metrics[key])
    with np.load(folder / 'per_image.npz') as kept:
        assert len(kept['images']) == 4 and len(kept['classes']) == (11 if kind == 'fcn' else 10)


def test_random_initialisation_must_be_asked_for(root, data, tmp_path):
    config = config_of('fcn', root, data, tmp_path / 'a')
    config.pop('encoder')
    with pytest.raises(ValueError, match=r'put encoder=dict\(depth=50'):
        run_benchmark(config, None)
    config = config_of('fcn', root, data, tmp_path / 'b')
    config.encoder.update(ENCODER)
    result = run_benchmark(config, None)
    assert result.settings['init'] == 'random' and result.checkpoint is None


@pytest.mark.parametrize(('place', 'value'), [
    ('backbone.init_cfg', dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    ('pretrained', 'torchvision://resnet50'), ('init_cfg', dict(type='Pretrained', checkpoint='x'))])
def test_weights_from_elsewhere_are_refused(place, value, root, data, checkpoint, tmp_path):
    config = config_of('fcn', root, data, tmp_path)
    config.merge_from_dict({f'model.{place}': value})
    with pytest.raises(ConfigError, match='from the CHECKPOINT argument and from nowhere else'):
        run_benchmark(config, str(checkpoint))


def test_another_backbone_is_refused(root, data, checkpoint, tmp_path):
    config = config_of('fcn', root, data, tmp_path)
    config.model.backbone = dict(type=ResNet, out_indices=(0, 1, 2, 3))
    with pytest.raises(ConfigError, match=r'must be a mmsimclr\.models\.DownstreamResNet.*got ResNet'):
        run_benchmark(config, str(checkpoint))


def test_a_checkpoint_that_is_no_encoder_trains_nothing(root, data, tmp_path):
    torch.save({'weight': torch.ones(2)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='no ResNet was recognised'):
        run_benchmark(config_of('fpn', root, data, tmp_path / 'run'), str(tmp_path / 'x.pth'))


@every_kind
def test_wrong_annotations_stop_it_before_training(kind, root, data, checkpoint, tmp_path, monkeypatch):
    broken = {'c4': write_voc, 'fcn': write_voc, 'fpn': write_coco}[kind](
        {split: Shapes(num_images=2, image_size=48, objects='multi') for split in ('train', 'val')},
        tmp_path / 'data')
    if kind == 'c4':
        file = broken / 'Annotations/000004.xml'                        # of the test
        file.write_text(re.sub(r'<xmax>\d+', '<xmax>300', file.read_text(), count=1))
    elif kind == 'fpn':
        file = broken / 'annotations/instances_val2017.json'
        content = json.loads(file.read_text())
        content['annotations'][0]['bbox'][2] = 300
        file.write_text(json.dumps(content))
    else:
        file = broken / 'SegmentationClass/000004.png'
        Image.new('L', (48, 40)).save(file)
    config = config_of(kind, root, dict(voc=broken, coco=broken), tmp_path / 'run')
    monkeypatch.setattr('mmengine.runner.Runner.train', lambda self: pytest.fail('it trained'))
    with pytest.raises(ValueError, match=file.name.replace('.', r'\.')):
        run_benchmark(config, str(checkpoint))
    with pytest.raises(ValueError, match=file.name.replace('.', r'\.')):
        check_benchmark(config)


def test_the_check_alone_counts_and_needs_the_same_classes(root, data, tmp_path):
    config = config_of('c4', root, data, tmp_path)
    assert re.fullmatch(r'train: 4 images, \d objects: nothing is wrong\ntest: 4 images, \d objects: .*',
                        check_benchmark(config))
    config.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[config.train_dataloader.dataset] * 2)
    assert check_benchmark(config).startswith('train: 8 images')
    config.train_dataloader.dataset.datasets[1].metainfo.classes = ('cat',)
    with pytest.raises(ConfigError, match='must have the same classes'):
        check_benchmark(config)
    with pytest.raises(ConfigError, match='only configs of detection and segmentation'):
        check_benchmark(load_config(root / 'configs/benchmarks/classification/knn_shapes.py'))


def test_an_unknown_metric_is_refused(root, data, checkpoint, tmp_path):
    config = config_of('fcn', root, data, tmp_path)
    config.test_evaluator = dict(type='mmseg.IoUMetric')
    with pytest.raises(ConfigError, match='test_evaluator must be one VOCBoxMetric, COCOMetric or'):
        run_benchmark(config, str(checkpoint))


@every_kind
def test_what_was_trained_is_drawn_on_images(kind, root, data, trained, checkpoint, tmp_path):
    config, (_, folder) = config_of(kind, root, data, tmp_path), trained(kind)
    predictor = Predictor(config, folder, device='cpu')
    assert predictor.model.data_preprocessor.mean.flatten().tolist() == [10, 20, 30]
    saved = torch.load(next(folder.glob('*.pth')), weights_only=False)['state_dict']
    for key, value in predictor.model.state_dict().items():
        torch.testing.assert_close(value, saved[key])
    image = tmp_path / 'wide.png'
    Image.new('RGB', (70, 40), 'gray').save(image)
    picture = predictor.draw(image, tmp_path / 'out', score=0.0)
    assert picture == tmp_path / 'out/wide.png' and Image.open(picture).size == (70, 40)
    assert len(np.unique(np.asarray(Image.open(picture)).reshape(-1, 3), axis=0)) > 1, 'nothing was drawn'
    (tmp_path / 'text.png').write_text('no image')
    with pytest.raises(ValueError, match=r'text\.png is not an image'):
        predictor.predict(tmp_path / 'text.png')
    with pytest.raises(CheckpointError, match='does not say its encoder and its classes'):
        Predictor(config, checkpoint, device='cpu')
