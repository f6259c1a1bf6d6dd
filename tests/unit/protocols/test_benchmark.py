"""The door of the protocols: which encoder is measured, and what its result says."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmsimclr.checkpoints import CheckpointError
from mmsimclr.config import ConfigError, check_config
from mmsimclr.models import ResNet
from mmsimclr.protocols import EncoderSource, Predictions, read_predictions, read_result, run_benchmark

TINY = dict(depth=18, base_channels=4, stem='cifar')


def config_of(work_dir, **changes) -> Config:
    def shapes(split, num_images):
        return dict(type='Shapes', num_images=num_images, split=split, image_size=16, pipeline=[])
    config = Config(dict(
        default_scope='mmsimclr', work_dir=str(work_dir), dataset_name='Shapes',
        protocol=dict(type='KNN', train=shapes('train', 24), test=shapes('test', 12), k=[3, 5], crop_px=16),
        **changes))
    check_config(config)
    return config


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('encoder') / 'encoder.pth'
    torch.save(ResNet(**TINY).state_dict(), path)
    return path


def test_the_result_says_what_was_measured(checkpoint, tmp_path):
    result = run_benchmark(config_of(tmp_path / 'knn'), str(checkpoint), config_path='configs/knn.py',
                           command='python tools/benchmark.py')
    written = json.loads((tmp_path / 'knn/result.json').read_text())
    assert read_result(tmp_path / 'knn/result.json') == result
    assert written['tensors_loaded'] == [120, 120] and written['checkpoint'] == str(checkpoint)
    assert len(written['checkpoint_sha256']) == 64
    assert written['checkpoint_layout'] == 'ResNet keys without a prefix'
    assert written['num_images'] == dict(train=24, test=12) and written['dataset'] == 'Shapes'
    assert written['settings']['input']['stated'] is False, 'a bare state dict does not say'
    assert written['settings']['crop_px'] == 16 and written['settings']['k'] == [3, 5]

    predictions = read_predictions(tmp_path / 'knn' / written['predictions'])
    hits = 100 * (predictions.predicted == predictions.labels).mean()
    assert hits == pytest.approx(max(value for name, value in result.metrics.items() if 'top_1' in name))


def test_features_are_extracted_once_for_all_protocols_of_an_encoder(checkpoint, tmp_path, monkeypatch):
    run_benchmark(config_of(tmp_path / 'a'), str(checkpoint))
    [*before] = sorted((tmp_path / 'features').iterdir())
    assert len(before) == 2
    forwards = []
    monkeypatch.setattr(ResNet, 'forward', _counting(ResNet.forward, forwards))
    run_benchmark(config_of(tmp_path / 'b'), str(checkpoint))
    assert sorted((tmp_path / 'features').iterdir()) == before
    assert all(size == 1 for size in forwards), 'but for the probe of the feature length'

    other = tmp_path / 'other.pth'
    torch.save(ResNet(**TINY).state_dict(), other)
    run_benchmark(config_of(tmp_path / 'c'), str(other))
    assert len(list((tmp_path / 'features').iterdir())) == 4, 'another encoder has features of its own'


def _counting(forward, sizes):
    def counted(self, x):
        sizes.append(len(x))
        return forward(self, x)
    return counted


def test_random_initialisation_must_be_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r'put encoder=dict\(depth=50'):
        run_benchmark(config_of(tmp_path / 'a'), None)
    result = run_benchmark(config_of(tmp_path / 'b', encoder=TINY), None)
    assert result.settings['init'] == 'random' and result.checkpoint is None and result.tensors_loaded is None
    again = run_benchmark(config_of(tmp_path / 'c', encoder=TINY), None)
    assert again.metrics == result.metrics
    other = EncoderSource(None, settings=TINY, seed=1).build()[0]
    assert not torch.equal(other.conv1.weight, EncoderSource(None, settings=TINY).build()[0].conv1.weight)


def test_a_checkpoint_that_does_not_load_measures_nothing(tmp_path):
    torch.save({'model': {'weight': torch.ones(2)}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='no ResNet was recognised'):
        run_benchmark(config_of(tmp_path / 'a'), str(tmp_path / 'x.pth'))
    with pytest.raises(FileNotFoundError):
        run_benchmark(config_of(tmp_path / 'a'), str(tmp_path / 'y.pth'))
    assert not (tmp_path / 'a/result.json').exists()


def test_a_config_without_a_protocol_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'no protocol=dict'):
        run_benchmark(Config(dict(work_dir=str(tmp_path))), 'x')


@pytest.mark.parametrize(('change', 'message'), [
    (dict(type='KNM'), r"unknown type 'KNM' in protocol\.type; did you mean 'KNN'"),
    (dict(temprature=1), r"unknown key 'temprature' in protocol; did you mean 'temperature'"),
    (dict(train=dict(type='Shapes', num_image=3)), "did you mean 'num_images'"),
])
def test_a_misspelt_protocol_is_an_error_with_the_nearest_name(change, message, tmp_path):
    config = config_of(tmp_path)
    config.protocol.update(change)
    with pytest.raises(ConfigError, match=message):
        check_config(config)


def test_predictions_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match='must be of the same images'):
        Predictions(np.zeros(3), np.zeros(3), np.zeros(2))


def test_a_file_that_holds_no_predictions_is_told(tmp_path):
    np.savez(tmp_path / 'x.npz', other=np.zeros(3))
    with pytest.raises(ValueError, match='holds no predictions'):
        read_predictions(tmp_path / 'x.npz')
