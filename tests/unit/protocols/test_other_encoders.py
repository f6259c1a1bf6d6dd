"""Encoders that are no ResNets in the protocols: rebuilt, used for what they offer, or refused by name."""

import numpy as np
import pytest
import torch
from tiny_downstream import built, config_of, write_data

from mmsimclr.checkpoints import EncoderWeights, InputScale
from mmsimclr.checkpoints.record import pack_record
from mmsimclr.config import ConfigError, load_config
from mmsimclr.encoders import build_backbone, features_by_stage
from mmsimclr.errors import InputError
from mmsimclr.files import shipped_configs
from mmsimclr.models import TimmEncoder
from mmsimclr.protocols import EncoderSource, run_benchmark

pytestmark = pytest.mark.slow
ENCODERS = {
    'ConvNeXt': dict(type='TimmEncoder', name='convnext_atto', depths=(1, 1, 1, 1)),
    'ViT': dict(type='TimmEncoder', name='vit_tiny_patch16_224', img_size=32, patch_size=16, depth=1)}
FEW = {'train_dataloader.dataset.num_images': 40, 'test_dataloader.dataset.num_images': 20,
       'train_dataloader.batch_size': 20, 'train_cfg.max_epochs': 1}
STAGES = ['layer1', 'layer2', 'layer3', 'layer4']
SMALL = {
    'semi-10pct': {'train_dataloader.dataset.dataset.num_images': 200, **dict([*FEW.items()][1:])},
    'logistic': {'protocol.tasks.0.train.num_images': 60, 'protocol.tasks.0.test.num_images': 20,
                 'protocol.l2': [0.1]},
    'transfer-linear': {'protocol.tasks.0.train.num_images': 60, 'protocol.tasks.0.test.num_images': 20,
                        'protocol.l2': [0.001, 0.1]},
    'transfer-finetune': {'protocol.tasks.0.train.num_images': 60, 'protocol.tasks.0.test.num_images': 20,
                          'protocol.lr': [0.01], 'protocol.weight_decay': [0.0], 'train_cfg.max_iters': 2,
                          'train_dataloader.batch_size': 16},
    'health': {'protocol.images.num_images': 40, 'protocol.num_view_images': 10},
    'svm': {'protocol.train.num_images': 60, 'protocol.test.num_images': 20, 'protocol.costs': [1.0]}}


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Write one file of each encoder, with a projection head beside it."""
    folder, paths = tmp_path_factory.mktemp('encoders'), {}
    for name, config in ENCODERS.items():
        torch.manual_seed(0)
        encoder = build_backbone(config)
        length = 320 if name == 'ConvNeXt' else 192
        scale = InputScale((1., 2., 3.), (4., 5., 6.), stated=True, view_px=32)
        record = pack_record(EncoderWeights({}, encoder.settings, scale))
        tensors = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
        tensors |= {'neck.fc0.weight': torch.randn(8, length), 'neck.bn0.weight': torch.ones(8),
                    'neck.bn0.bias': torch.zeros(8), 'neck.bn0.running_mean': torch.zeros(8),
                    'neck.bn0.running_var': torch.ones(8)}
        paths[name] = folder / f'{name}.pth'
        torch.save(dict(meta=dict(mmsimclr=record), state_dict=tensors), paths[name])
    return paths


def leaf(kind: str, work_dir, **options):
    name, = (name for name in shipped_configs() if name.startswith(f'{kind}_') and name.endswith('_shapes'))
    return load_config(name, {**SMALL.get(kind, FEW), **options}, work_dir)


@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('kind', ['semi-10pct', 'logistic', 'transfer-linear', 'transfer-finetune', 'health'])
def test_every_consumer_of_pooled_features_rebuilds_the_encoder(kind, encoder, checkpoints, tmp_path):
    result = run_benchmark(leaf(kind, tmp_path / kind), str(checkpoints[encoder]))
    tensors = len(build_backbone(ENCODERS[encoder]).state_dict())
    assert result.tensors_loaded == (tensors, tensors)
    assert result.settings['input'] == dict(mean=[1, 2, 3], std=[4, 5, 6], stated=True)
    assert result.metrics and all(np.isfinite(value) for value in result.metrics.values())


def test_random_initialisation_of_any_kind(tmp_path):
    config = leaf('logistic', tmp_path / 'run')
    config.random_encoder = {**ENCODERS['ViT'], 'type': TimmEncoder}
    result = run_benchmark(config, None)
    assert result.settings['init'] == 'random'
    assert result.settings['encoder']['name'] == 'vit_tiny_patch16_224'


def test_protocols_of_layers_use_the_stages_there_are_and_name_what_is_missing(checkpoints, tmp_path):
    four = {'protocol.stages': STAGES}
    found = run_benchmark(leaf('svm', tmp_path / 'a', **four), str(checkpoints['ConvNeXt']))
    assert {f'map_{stage}_percent' for stage in STAGES} < set(found.metrics)
    with pytest.raises(InputError, match=r"convnext_atto does not return the map of 'stem'.*layer1, layer2"):
        run_benchmark(leaf('svm', tmp_path / 'b'), str(checkpoints['ConvNeXt']))
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224 does not return the map of 'layer1'.*pooled"):
        run_benchmark(leaf('svm', tmp_path / 'c', **four), str(checkpoints['ViT']))
    config = leaf('linear-per-layer', tmp_path / 'd')
    config.model.heads.pop('stem')
    assert {f'feature_{number}_top_1_accuracy_percent' for number in (2, 3, 4, 5)} <= set(
        run_benchmark(config, str(checkpoints['ConvNeXt'])).metrics)
    with pytest.raises(ConfigError, match=r'pooled, which this encoder offers, got .layer1.'):
        config = leaf('linear-per-layer', tmp_path / 'e')
        config.model.heads.pop('stem')
        run_benchmark(config, str(checkpoints['ViT']))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def test_a_detector_with_a_pyramid_has_the_encoder_s_stages(data, checkpoints, tmp_path):
    source = EncoderSource(checkpoints['ConvNeXt'])
    runner = built('fpn', data, source, tmp_path)
    runner.model.init_weights()                               # MMEngine calls it when training begins
    assert runner.model.neck.in_channels == [80, 160, 320]
    images = torch.rand(1, 3, 64, 64)
    runner.model.eval()
    with torch.no_grad():
        wanted = features_by_stage(source.backbone, images)
        for stage, maps in zip(STAGES[1:], runner.model.backbone(images), strict=True):
            torch.testing.assert_close(maps, wanted[stage], rtol=0, atol=0)


def test_a_segmenter_trains_on_the_encoder_s_stages(data, checkpoints, tmp_path):
    config = config_of('fcn', data, tmp_path)
    config.model.backbone.output_stride = None
    result = run_benchmark(config, str(checkpoints['ConvNeXt']), device='cpu')
    assert result.settings['steps'] == 2 and 0 <= result.metrics['miou_percent'] <= 100


@pytest.mark.parametrize(('kind', 'encoder', 'message'), [
    ('c4', 'ConvNeXt', 'C4 takes .* feature pyramid'), ('fcn', 'ConvNeXt', r'output_stride.*=None'),
    ('fpn', 'ViT', "vit_tiny_patch16_224 does not return the map of 'layer1'")])
def test_what_an_encoder_cannot_be_is_refused_by_name(kind, encoder, message, data, checkpoints, tmp_path):
    with pytest.raises((ConfigError, InputError), match=message):
        built(kind, data, EncoderSource(checkpoints[encoder]), tmp_path)
