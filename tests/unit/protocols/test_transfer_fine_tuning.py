"""The grid of fine-tuning: what each point trains with, what is chosen, and that finished points are kept."""

import hashlib
import json
from pathlib import Path

import pytest
from tiny_probe import save_encoder

from mmsimclr.config import ConfigError, load_config
from mmsimclr.datasets import Shapes
from mmsimclr.engine import BatchNormMomentumHook
from mmsimclr.evaluation.metrics import eleven_point_map
from mmsimclr.protocols import read_predictions, run_benchmark, transfer
from mmsimclr.registry import DATASETS

pytestmark = pytest.mark.slow


@DATASETS.register_module(force=True)
class TwoPropertyShapes(Shapes):
    """Shapes that are called by two properties of their class; some do not count for the second."""

    METAINFO = {'classes': ('odd', 'small')}

    def get_data_info(self, idx: int) -> dict:
        info = super().get_data_info(idx)
        label = info['gt_label']
        return {**info, 'gt_label': [label % 2, -1 if idx % 7 == 0 else int(label < 5)]}


class OtherMomentumHook(BatchNormMomentumHook):
    """A hook of another class with the same settings."""


LEAF = 'configs/benchmarks/classification/transfer-{}_shapes.py'
TASK = dict(name='Shapes', metric='mean_class_accuracy_percent',
            train=dict(type='Shapes', num_images=80, image_size=16),
            test=dict(type='Shapes', num_images=40, image_size=16, split='test'))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return str(save_encoder(tmp_path_factory.mktemp('encoder')))


def config_of(root, work_dir, kind='finetune', **options):
    loaders = {f'{part}_dataloader.num_workers': 0 for part in ('train', 'test')}
    return load_config(root / LEAF.format(kind), {
        'protocol.tasks': [TASK], 'protocol.lr': [0.01, 0.1], 'protocol.weight_decay': [0.0, 1e-3],
        'train_dataloader.batch_size': 16, 'train_cfg.max_iters': 3,
        'random_encoder': dict(depth=18, base_channels=4, stem='cifar'), **loaders, **options}, work_dir)


@pytest.fixture
def trainings(monkeypatch):
    """Record what is trained."""
    seen = []
    plain = transfer.train_classifier

    def record(benchmark, options, name):
        seen.append((name, options))
        return plain(benchmark, options, name=name)

    monkeypatch.setattr(transfer, 'train_classifier', record)
    return seen


def test_every_pair_is_trained_on_a_part_validated_on_the_rest_and_the_best_again_on_all(
        root, tmp_path, checkpoint, trainings):
    result = run_benchmark(config_of(root, tmp_path), checkpoint)
    assert [name for name, _ in trainings] == [
        'lr0.01_wd0', 'lr0.01_wd0.001', 'lr0.1_wd0', 'lr0.1_wd0.001', 'best']
    optimizer = [(options['optim_wrapper.optimizer.lr'], options['optim_wrapper.optimizer.weight_decay'])
                 for _, options in trainings]
    assert optimizer[:4] == [(0.01, 0), (0.01, pytest.approx(0.1)), (0.1, 0), (0.1, pytest.approx(0.01))]
    train, val = (trainings[0][1][f'{part}_dataloader.dataset']['indices'] for part in ('train', 'test'))
    assert sorted(train + val) == list(range(80)) and len(val) == 20
    assert 'indices' not in trainings[-1][1]['train_dataloader.dataset']
    assert trainings[-1][1]['test_dataloader.dataset']['split'] == 'test'
    grid = result.settings['grid']
    best = max(grid, key=lambda point: point['validation'])
    assert result.settings['chosen'] == {key: best[key] for key in ('lr', 'weight_decay')}
    assert result.num_images == dict(train=80, test=40, val=len(val))
    assert (result.protocol, result.dataset) == ('transfer fine-tuned', 'Shapes')
    assert len(read_predictions(tmp_path / 'predictions.npz').labels) == 40


def test_finished_pairs_are_kept_and_trained_again_only_if_something_changed(
        root, tmp_path, checkpoint, trainings):
    one = {'protocol.weight_decay': [0.0]}
    first = run_benchmark(config_of(root, tmp_path, **one), checkpoint)
    point = tmp_path / 'lr0.1_wd0' / 'point.json'
    point.write_bytes(point.read_bytes()[:50])
    trainings.clear()
    again = run_benchmark(config_of(root, tmp_path, **one), checkpoint)
    assert [name for name, _ in trainings] == ['lr0.1_wd0', 'best']
    assert again.metrics == first.metrics and again.settings['grid'] == first.settings['grid']
    trainings.clear()
    fewer = {**one, 'train_cfg.max_iters': 2, 'protocol.lr': [0.1]}
    run_benchmark(config_of(root, tmp_path, **fewer), checkpoint)
    assert [name for name, _ in trainings] == ['lr0.1_wd0', 'best']
    # Of another encoder, or of another component with the same settings, nothing is taken over.
    trainings.clear()
    other = str(save_encoder(tmp_path, seed=1))
    result = run_benchmark(config_of(root, tmp_path, **fewer), other)
    assert [name for name, _ in trainings] == ['lr0.1_wd0', 'best']
    kept = json.loads((tmp_path / 'lr0.1_wd0' / 'point.json').read_text())
    assert kept['identity']['encoder.sha256'] == result.checkpoint_sha256
    assert kept['identity']['encoder.sha256'] == hashlib.sha256(Path(other).read_bytes()).hexdigest()
    trainings.clear()
    run_benchmark(config_of(root, tmp_path, **fewer, **{'custom_hooks.0.type': OtherMomentumHook}), other)
    assert [name for name, _ in trainings] == ['lr0.1_wd0', 'best']


def test_what_was_begun_with_one_encoder_is_not_gone_on_with_by_another(root, tmp_path, checkpoint):
    one = {'protocol.weight_decay': [0.0], 'protocol.lr': [0.1], 'default_hooks.checkpoint.interval': 1,
           'default_hooks.checkpoint.by_epoch': False}
    first = run_benchmark(config_of(root, tmp_path, **one), checkpoint)
    (tmp_path / 'lr0.1_wd0' / 'point.json').unlink()
    config = config_of(root, tmp_path, **one, resume=True)
    other = save_encoder(tmp_path, seed=1)
    with pytest.raises(ConfigError) as caught:
        run_benchmark(config, str(other))
    for path in (Path(checkpoint), other):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in str(caught.value)
    assert run_benchmark(config, checkpoint).metrics == first.metrics


def test_batch_norm_follows_the_length_of_an_epoch(root, tmp_path, checkpoint, monkeypatch):
    momenta, plain = [], BatchNormMomentumHook.before_train

    def record(hook, runner):
        plain(hook, runner)
        momenta.append(runner.model.backbone.bn1.momentum)

    monkeypatch.setattr(BatchNormMomentumHook, 'before_train', record)
    task = {**TASK, 'train': {**TASK['train'], 'num_images': 500}}
    run_benchmark(config_of(root, tmp_path, **{
        'protocol.tasks': [task], 'protocol.lr': [0.1], 'protocol.weight_decay': [0.0],
        'train_dataloader.batch_size': 2, 'train_cfg.max_iters': 1}), checkpoint)
    # 400 images in batches of 2 are 200 steps, 500 are 250: 10 / s of the new statistics.
    assert momenta == [pytest.approx(0.05), pytest.approx(0.04)]


def test_random_initialisation_and_checkpoints_are_not_confused(root, tmp_path, checkpoint):
    with pytest.raises(ConfigError, match='--init random'):
        run_benchmark(config_of(root, tmp_path, 'random-init'), checkpoint)
    with pytest.raises(ConfigError, match='give a CHECKPOINT'):
        run_benchmark(config_of(root, tmp_path), None)
    one = {'protocol.lr': [0.1], 'protocol.weight_decay': [0.0], 'train_cfg.max_iters': 1}
    result = run_benchmark(config_of(root, tmp_path, 'random-init', **one), None)
    assert result.protocol == 'transfer random init' and result.checkpoint is None
    assert result.settings['init'] == 'random'


def test_images_of_several_classes_are_trained_and_tested_by_11_point_map(root, tmp_path, checkpoint):
    several = dict(type='TwoPropertyShapes', image_size=16, num_images=60)
    task = dict(name='Several', metric='11_point_map_percent', train=several, val={**several, 'split': 'val'},
                trainval={**several, 'num_images': 90}, test={**several, 'split': 'test'})
    result = run_benchmark(config_of(root, tmp_path, **{
        'protocol.tasks': [task], 'protocol.lr': [0.01], 'protocol.weight_decay': [0.0],
        'train_cfg.max_iters': 20}), checkpoint)
    predictions = read_predictions(tmp_path / 'predictions.npz')
    assert predictions.labels.shape == predictions.predicted.shape == (60, 2)
    value = result.metrics['11_point_map_percent']
    assert value == eleven_point_map(predictions.labels, predictions.predicted) > 55         # chance is 50
    assert result.num_images == dict(train=90, val=60, test=60)


def test_a_validation_split_needs_one_with_the_training_images(root, tmp_path, checkpoint):
    task = {**TASK, 'val': {**TASK['test'], 'split': 'val'}}
    with pytest.raises(ConfigError, match='needs trainval'):
        run_benchmark(config_of(root, tmp_path, **{'protocol.tasks': [task]}), checkpoint)


@pytest.mark.parametrize('changes', [dict(lr=[]), dict(lr=[0.0]), dict(weight_decay=[-1e-6])])
def test_a_wrong_grid_is_refused(root, tmp_path, checkpoint, changes):
    options = {f'protocol.{key}': value for key, value in changes.items()}
    with pytest.raises(ValueError, match='lr must be numbers > 0'):
        run_benchmark(config_of(root, tmp_path, **options), checkpoint)


def test_a_point_and_the_result_keep_a_change_that_was_taken(root, tmp_path, checkpoint):
    options = {'protocol.weight_decay': [0.0], 'protocol.lr': [0.1], 'default_hooks.checkpoint.interval': 1,
               'default_hooks.checkpoint.by_epoch': False}
    run_benchmark(config_of(root, tmp_path, **options), checkpoint)
    other = str(save_encoder(tmp_path, seed=1))
    for _ in range(2):                                      # the second takes the point over
        again = config_of(root, tmp_path, **options)
        again.update(resume=True, allow_changed=['encoder'])
        result = run_benchmark(again, other)
        row, = result.settings['grid']
        assert row['changed_on_resume'][0]['changes'][0]['key'] == 'encoder.sha256'
        assert row['changed_on_resume'][0] in result.settings['changed_on_resume']
