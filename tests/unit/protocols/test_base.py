"""The encoder that is measured, its features kept for several protocols, and its result."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_benchmark import shapes, tiny_benchmark

from mmsimclr.checkpoints import CheckpointError
from mmsimclr.config import ConfigError, check_config, config_sha256, load_config
from mmsimclr.environment import versions
from mmsimclr.features import extraction as files
from mmsimclr.files import HeldError
from mmsimclr.models import ResNet
from mmsimclr.protocols import EncoderSource, Predictions, read_predictions, read_result, run_benchmark
from mmsimclr.protocols.base import NOT_OF_THE_MEASUREMENT, clear_dataset_errors
from mmsimclr.protocols.result import DRAWN, feature_names
from mmsimclr.registry import DATASETS
from mmsimclr.runner import working_in

TINY = dict(depth=18, base_channels=4, stem='cifar')


def config_of(work_dir, **changes) -> Config:
    config = Config(dict(
        default_scope='mmsimclr', work_dir=str(work_dir), dataset_name='Shapes',
        protocol=dict(type='KNN', train=shapes(24), test=shapes(12, 'test'), k=[3, 5], crop_px=16),
        **changes))
    check_config(config)
    return config


@pytest.mark.parametrize('leaf', ['semi-1pct_4xb64-steplr-20e_in1k',
                                  'mask-rcnn-fpn_1xb4-steplr-300_coco-folder'])
def test_what_is_measured_does_not_depend_on_where_data_lie(leaf):
    """Lists of images and annotations lie with them; their content is in the hashes of the images."""
    if 'rcnn' in leaf:
        pytest.importorskip('mmdet', reason='needs mmdet (tools/install.sh full)')
    hashes = {config_sha256(load_config(leaf, {'data_root': root}), NOT_OF_THE_MEASUREMENT)
              for root in ('data', '/disk/of another machine')}
    assert len(hashes) == 1
    other = load_config(leaf, {'optim_wrapper.optimizer.lr': 9.0})
    assert config_sha256(other, NOT_OF_THE_MEASUREMENT) not in hashes


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
    with pytest.raises(ValueError, match=r'put random_encoder=dict\(depth=50'):
        run_benchmark(config_of(tmp_path / 'a'), None)
    result = run_benchmark(config_of(tmp_path / 'b', random_encoder=TINY), None)
    assert result.settings['init'] == 'random' and result.checkpoint is None and result.tensors_loaded is None
    again = run_benchmark(config_of(tmp_path / 'c', random_encoder=TINY), None)
    assert again.metrics == result.metrics
    one, other = (EncoderSource(None, settings=TINY, seed=seed).backbone.conv1.weight for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize('is_random', [False, True])
def test_the_encoder_is_built_once_and_leaves_the_random_state_alone(is_random, checkpoint, tmp_path,
                                                                     monkeypatch):
    builds, plain = [], ResNet.__init__
    monkeypatch.setattr(ResNet, '__init__', lambda self, *args, **kwargs: builds.append(1) or plain(
        self, *args, **kwargs))
    config = config_of(tmp_path / 'run', random_encoder=TINY)
    run_benchmark(config, None if is_random else str(checkpoint))
    after = torch.get_rng_state()
    torch.manual_seed(0)
    assert len(builds) == 1 and torch.equal(after, torch.get_rng_state())


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


def write_images(root, seed: int = 0) -> dict:
    """Write four BMPs, all of as many bytes; return the config of their dataset."""
    random = np.random.default_rng(seed)
    for number in range(4):
        path = root / 'ab'[number % 2] / f'{number}.bmp'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return dict(type='mmpretrain.CustomDataset', data_root=str(root), pipeline=[], extensions=('.bmp',))


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / 'images')


@pytest.fixture
def features(tmp_path):
    def of(images):
        return tiny_benchmark(tmp_path / 'work').features(images, resize_px=16, crop_px=16)
    return of


def kept(tmp_path) -> int:
    return len(list((tmp_path / 'features').iterdir()))


def test_an_image_replaced_by_another_of_as_many_bytes_is_extracted_anew(images, features, tmp_path):
    before = np.array(features(images).stages['pooled'])
    assert np.array_equal(features(images).stages['pooled'], before) and kept(tmp_path) == 1
    # Swapped, so that names, sizes and the set of times stay.
    first, second, aside = (tmp_path / 'images/a' / name for name in ('0.bmp', '2.bmp', 'aside'))
    for old, new in ((first, aside), (second, first), (aside, second)):
        old.rename(new)
    after = features(images).stages['pooled']
    np.testing.assert_allclose(after, before[[1, 0, 2, 3]], rtol=1e-5, atol=1e-6)
    assert not np.allclose(before[0], before[1], rtol=1e-3)


@pytest.mark.parametrize('what', ['versions', 'classes'])
def test_another_version_or_other_names_of_classes_are_no_obstacle(what, images, features, tmp_path,
                                                                   monkeypatch):
    features(images)
    if what == 'versions':
        monkeypatch.setattr(files, 'versions', lambda: {**versions(), 'torch': '99'})
    else:
        images['metainfo'] = dict(classes=('one', 'two'))
    manifest = features(images).manifest
    assert kept(tmp_path) == 2
    assert manifest['versions']['torch'] == '99' if what == 'versions' else \
        manifest['images']['classes'] == ['one', 'two']


def test_a_split_without_images_is_an_error_of_the_data(images, features, tmp_path):
    (tmp_path / 'images/none').mkdir()
    images['data_root'] = str(tmp_path / 'images/none')
    with pytest.raises(ValueError, match='no images to measure on: Found 0 files'):
        features(images)


def test_images_are_named_below_their_root_wherever_they_lay_when_extracted(images, features, tmp_path):
    want = ['a/0.bmp', 'a/2.bmp', 'b/1.bmp', 'b/3.bmp']
    assert feature_names(features(images)).tolist() == want
    (tmp_path / 'images').rename(tmp_path / 'moved')
    images['data_root'] = str(tmp_path / 'moved')
    assert feature_names(features(images)).tolist() == want
    assert kept(tmp_path) == 1, 'moving is not writing'


def test_a_missing_folder_is_named_with_the_option_that_names_another():
    with pytest.raises(FileNotFoundError) as caught, clear_dataset_errors():
        raise FileNotFoundError(errno.ENOENT, 'No such file or directory', 'data/x')
    assert str(caught.value).startswith('data/x does not exist') and 'data_root=PATH' in str(caught.value)
    assert caught.value.filename is None                     # so that its message is what is shown


def test_an_error_that_explains_itself_stays():
    error = FileNotFoundError('data_root x does not exist; expected a folder with images')
    with pytest.raises(FileNotFoundError) as caught, clear_dataset_errors():
        raise error
    assert caught.value is error


def test_folders_without_images_are_the_users_data():
    with pytest.raises(ValueError, match='no images to measure on: Found 0 files'), clear_dataset_errors():
        raise RuntimeError('Found 0 files in x')


def test_a_result_is_not_written_into_a_folder_that_another_run_has_taken_over(tmp_path):
    benchmark = tiny_benchmark(tmp_path / 'run')
    with working_in(benchmark.work_dir, 'benchmark') as lease:
        record = json.loads(lease.file.read_bytes().split(b'\n')[0])
        lease.file.write_text(json.dumps({**record, 'token': 'a' * 32, 'pid': os.getppid(), 'started': ''}))
        with pytest.raises(HeldError):
            benchmark.result('x', {}, {}, {})
    assert not (benchmark.work_dir / 'result.json').exists()
    lease.file.unlink()
    benchmark.result('x', {}, {}, {})
    assert (benchmark.work_dir / 'result.json').exists()


def test_a_subset_that_a_seed_draws_is_told_from_a_training_set_that_stays(tmp_path):
    benchmark = tiny_benchmark(tmp_path / 'run')
    half = dict(type='BalancedSubset', fraction=0.5, dataset=shapes(24))
    for part, dataset in (('train', half), ('train', shapes(24)), ('test', shapes(12, 'test'))):
        benchmark.note_missing(DATASETS.build(dataset), part)
    result = benchmark.result('x', {}, {}, {})
    assert [*result.images_but()] == ['train, drawn', 'train', 'test']
    assert [*result.images_but(DRAWN)] == ['train', 'test']
    assert [*result.images_but('train', 'val', DRAWN)] == ['test']


@pytest.mark.parametrize('part, missing', [
    ([], {'VOC2007 train': 11, 'VOC2007 test': 2}), (['train'], {'VOC2007 test': 2})])
def test_the_result_counts_the_images_that_the_release_has_and_the_disk_does_not(part, missing, tmp_path):
    benchmark = tiny_benchmark(tmp_path / 'run')
    benchmark.config.dataset_name = 'VOC2007'
    for name in part:                                    # on purpose only a part of it
        listed = dict(type='BalancedSubset', fraction=0.5, dataset=shapes(24))
        benchmark.note_missing(DATASETS.build(listed), name)
    found = benchmark.result('SVM', {}, dict(train=5_000, test=4_950), {})
    assert found.settings['images_missing'] == missing
    whole = tiny_benchmark(tmp_path / 'whole')
    whole.config.dataset_name = 'VOC2007'
    assert 'images_missing' not in whole.result('SVM', {}, dict(train=5_011, test=4_952), {}).settings


def test_the_result_counts_listed_images_that_were_left_out(checkpoint, tmp_path):
    class Partial:
        num_missing, split = 7, 'train'

    class Wrapper:
        dataset = Partial()

    benchmark = tiny_benchmark(tmp_path)
    benchmark.note_missing(Wrapper())
    benchmark.note_missing([])
    benchmark.result('knn', {}, {}, {'k': 1})
    assert read_result(tmp_path / 'result.json').settings['images_missing'] == {'Partial train': 7}
