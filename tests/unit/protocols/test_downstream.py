"""Detectors and segmenters start from the encoder, all of it, and from nothing else."""

import functools
import json
import re

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import convert_sync_batchnorm
from PIL import Image
from tiny_downstream import ENCODER, KINDS, ROOT, built, config_of, save_encoder, write_data
from torch import nn

from mmsimclr.checkpoints import CheckpointError, build_encoder
from mmsimclr.config import ConfigError, load_config
from mmsimclr.datasets import Shapes
from mmsimclr.datasets.annotations import UnreadableImageError
from mmsimclr.models import ResNet
from mmsimclr.prepare.shapes import write_coco, write_voc
from mmsimclr.protocols import EncoderSource, check_benchmark, read_result, run_benchmark
from mmsimclr.reporting.predictor import Predictor
from mmsimclr.runner import build_runner

pytest.importorskip('mmdet', reason='needs mmdet (tools/install.sh full)')
pytest.importorskip('mmseg', reason='needs mmseg (tools/install.sh full)')
pytestmark = [pytest.mark.filterwarnings('ignore'), pytest.mark.slow]

every_kind = pytest.mark.parametrize('kind', KINDS)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp('encoder'))


@every_kind
def test_every_tensor_and_every_feature_is_the_encoder_s(kind, data, checkpoint, tmp_path):
    source = EncoderSource(checkpoint)
    runner = built(kind, data, source, tmp_path)
    model = runner.model
    model.init_weights()                                      # MMEngine calls it when training begins
    encoder, report = build_encoder(checkpoint, stages=('layer1', 'layer2', 'layer3', 'layer4'))
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
def trained(data, checkpoint, tmp_path_factory):
    """Return a function from a kind to the result, and the folder, of two steps of training."""
    @functools.cache
    def train(kind):
        folder = tmp_path_factory.mktemp(kind)
        return run_benchmark(config_of(kind, data, folder), str(checkpoint), device='cpu'), folder
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
    images = result.settings['images_sha256']
    assert images.keys() == {'train', 'test'} and images['train'] != images['test']


def test_random_initialisation_must_be_asked_for(data, tmp_path):
    config = config_of('fcn', data, tmp_path / 'a')
    config.pop('random_encoder')
    with pytest.raises(ValueError, match=r'put random_encoder=dict\(depth=50'):
        run_benchmark(config, None)
    config = config_of('fcn', data, tmp_path / 'b')
    config.random_encoder.update(ENCODER)
    result = run_benchmark(config, None)
    assert result.settings['init'] == 'random' and result.checkpoint is None


@pytest.mark.parametrize(('place', 'value'), [
    ('backbone.init_cfg', dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    ('pretrained', 'torchvision://resnet50'), ('init_cfg', dict(type='Pretrained', checkpoint='x'))])
def test_weights_from_elsewhere_are_refused(place, value, data, checkpoint, tmp_path):
    config = config_of('fcn', data, tmp_path)
    config.merge_from_dict({f'model.{place}': value})
    with pytest.raises(ConfigError, match='from the CHECKPOINT argument and from nowhere else'):
        run_benchmark(config, str(checkpoint))


def test_another_backbone_is_refused(data, checkpoint, tmp_path):
    config = config_of('fcn', data, tmp_path)
    config.model.backbone = dict(type=ResNet, out_indices=(0, 1, 2, 3))
    with pytest.raises(ConfigError, match=r'must be a mmsimclr\.models\.DownstreamResNet.*got ResNet'):
        run_benchmark(config, str(checkpoint))


def test_a_checkpoint_that_is_no_encoder_trains_nothing(data, tmp_path):
    torch.save({'weight': torch.ones(2)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='no ResNet was recognised'):
        run_benchmark(config_of('fpn', data, tmp_path / 'run'), str(tmp_path / 'x.pth'))


@every_kind
def test_wrong_annotations_stop_it_before_training(kind, data, checkpoint, tmp_path, monkeypatch):
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
    config = config_of(kind, dict(voc=broken, coco=broken), tmp_path / 'run')
    monkeypatch.setattr('mmengine.runner.Runner.train', lambda self: pytest.fail('it trained'))
    with pytest.raises(ValueError, match=file.name.replace('.', r'\.')):
        run_benchmark(config, str(checkpoint))
    with pytest.raises(ValueError, match=file.name.replace('.', r'\.')):
        check_benchmark(config)


def test_the_check_alone_counts_and_needs_the_same_classes(data, tmp_path):
    config = config_of('c4', data, tmp_path)
    assert re.fullmatch(r'train: 4 images, \d objects: nothing is wrong\ntest: 4 images, \d objects: .*',
                        check_benchmark(config))
    config.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[config.train_dataloader.dataset] * 2)
    assert check_benchmark(config).startswith('train: 8 images')
    config.train_dataloader.dataset.datasets[1].metainfo.classes = ('cat',)
    with pytest.raises(ConfigError, match='must have the same classes'):
        check_benchmark(config)
    with pytest.raises(ConfigError, match='only configs of detection and segmentation'):
        check_benchmark(load_config(ROOT / 'configs/benchmarks/classification/knn_shapes.py'))


def test_an_unknown_metric_is_refused(data, checkpoint, tmp_path):
    config = config_of('fcn', data, tmp_path)
    config.test_evaluator = dict(type='mmseg.IoUMetric')
    with pytest.raises(ConfigError, match='test_evaluator must be one VOCBoxMetric, COCOMetric or'):
        run_benchmark(config, str(checkpoint))


@every_kind
def test_what_was_trained_is_drawn_on_images(kind, data, trained, checkpoint, tmp_path):
    config, (_, folder) = config_of(kind, data, tmp_path), trained(kind)
    predictor = Predictor(config, folder, device='cpu')
    assert predictor.model.data_preprocessor.mean.flatten().tolist() == [10, 20, 30]
    saved = torch.load(next(folder.glob('*.pth')), weights_only=False)['state_dict']
    for key, value in predictor.model.state_dict().items():
        torch.testing.assert_close(value, saved[key])
    # A photograph as phones store it: on its side, and the entry that says so.
    image, exif = tmp_path / 'wide.jpg', Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 70), 'gray').save(image, exif=exif)
    picture = tmp_path / 'out/below/wide.png'
    predictor.draw(image, picture, score=0.0)
    drawn = Image.open(picture)
    assert drawn.size == (490, 280), 'upright, and enlarged for names that can be read'
    assert len(np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)) > 2, 'nothing was drawn'
    predictor.draw(image, picture, score=1.0)
    assert (len(np.unique(np.asarray(Image.open(picture)).reshape(-1, 3), axis=0)) > 2) == (kind == 'fcn')
    with pytest.raises(ValueError, match=r'score must be in \[0, 1\], got 30'):
        predictor.draw(image, picture, score=30)
    with pytest.raises(CheckpointError, match='does not say its encoder and its classes'):
        Predictor(config, checkpoint, device='cpu')


def test_what_is_no_image_is_not_predicted_on(data, trained, tmp_path):
    predictor = Predictor(config_of('fcn', data, tmp_path), trained('fcn')[1], device='cpu')
    for content in (b'no image', (data['voc'] / 'JPEGImages/000001.jpg').read_bytes()[:-100]):
        (tmp_path / 'a.jpg').write_bytes(content)
        with pytest.raises(UnreadableImageError, match=r'a\.jpg is not an image that can be read'):
            predictor.predict(tmp_path / 'a.jpg')
    with pytest.raises(FileNotFoundError, match='no image at'):
        predictor.predict(tmp_path / 'b.jpg')


@every_kind
def test_an_encoder_that_is_another_than_the_config_says_is_refused(kind, data, checkpoint, tmp_path):
    config = config_of(kind, data, tmp_path)
    assert check_benchmark(config, str(checkpoint)).startswith(
        f'encoder: 120 of 120 tensors of {checkpoint}: nothing is wrong\ntrain: 4 images')
    config.model.backbone.update(depth=18, base_channels=4)
    assert check_benchmark(config, str(checkpoint)).startswith('encoder: ')
    config.model.backbone.update(depth=50, base_channels=64)
    message = 'depth is 18 in the checkpoint and 50 in the config; base_channels .* is 4.* in .* and 64 in'
    with pytest.raises(ConfigError, match=message):
        check_benchmark(config, str(checkpoint))
    with pytest.raises(ConfigError, match=message):
        run_benchmark(config, str(checkpoint))


def norms_of(model):
    return [module for module in model.modules() if hasattr(module, 'running_mean')]


@every_kind
def test_batch_norm_is_over_all_gpus_and_plain_on_one_device(kind, data, checkpoint, tmp_path, monkeypatch):
    runner = built(kind, data, EncoderSource(checkpoint), tmp_path)
    norms = norms_of(runner.model)
    assert runner.cfg.sync_bn is None
    assert norms and all(type(norm) is nn.BatchNorm2d for norm in norms)

    # The same config where there are GPUs; no more of it can run here.
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('mmsimclr.runner.build.PretrainRunner.from_cfg', lambda config: config)
    config = build_runner(config_of(kind, data, tmp_path))
    tensors = runner.model.state_dict()
    everywhere = convert_sync_batchnorm(runner.model, config.sync_bn)
    found = norms_of(everywhere)
    assert len(found) == len(norms) and all(type(norm) is nn.SyncBatchNorm for norm in found)
    for key, value in everywhere.state_dict().items():
        torch.testing.assert_close(value, tensors.pop(key), rtol=0, atol=0)
    assert not tensors
