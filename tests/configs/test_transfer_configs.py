"""The transfer configs hold the paper's datasets, metrics and grids."""

import itertools
import math
from pathlib import Path

import pytest

from mmsimclr.config import load_config
from mmsimclr.registry import PROTOCOLS

FOLDER = Path(__file__).parents[2] / 'configs' / 'benchmarks' / 'classification'
TOP_1, MEAN_CLASS, MAP = 'top_1_accuracy_percent', 'mean_class_accuracy_percent', '11_point_map_percent'
METRICS = {
    'Food-101': TOP_1, 'CIFAR-10': TOP_1, 'CIFAR-100': TOP_1, 'Birdsnap': TOP_1, 'SUN397': TOP_1,
    'Stanford Cars': TOP_1, 'FGVC Aircraft': MEAN_CLASS, 'VOC2007': MAP, 'DTD': TOP_1,
    'Oxford-IIIT Pets': MEAN_CLASS, 'Caltech-101': MEAN_CLASS, 'Oxford 102 Flowers': MEAN_CLASS,
}


def protocol(name: str):
    return load_config(FOLDER / f'{name}.py').protocol


def is_geometric(values, first: float, last: float, count: int) -> bool:
    steps = [math.log(b / a) for a, b in itertools.pairwise(values)]
    return len(values) == count and values[0] == pytest.approx(first) and values[-1] == pytest.approx(last) \
        and max(steps) == pytest.approx(min(steps))


@pytest.mark.parametrize('name', ['transfer-linear', 'transfer-finetune', 'transfer-random-init'])
def test_the_twelve_datasets_have_the_papers_metrics_and_official_validation_splits(name):
    tasks = protocol(name).tasks
    assert {task.name: task.metric for task in tasks} == METRICS
    official = {task.name for task in tasks if task.get('val')}
    assert official == {'FGVC Aircraft', 'VOC2007', 'DTD', 'Oxford 102 Flowers'}
    for task in tasks:
        assert task.root == task.train.data_root == task.test.data_root and task.needs and task.source
        assert bool(task.get('trainval')) == (task.name in official)
        assert (task.train.split, task.test.split) == (
            'trainval' if task.name == 'Oxford-IIIT Pets' else 'train', 'test')
        if task.name in official:
            assert (task.val.split, task.trainval.split) == ('val', 'trainval')


def test_the_path_has_45_values_from_1e_6_to_1e5():
    assert is_geometric(protocol('transfer-linear').l2, 1e-6, 1e5, 45)


@pytest.mark.parametrize('name, steps, rates, decays', [
    ('transfer-finetune', 20_000, (1e-4, 0.1, 7), (1e-6, 1e-3, 7)),
    ('transfer-random-init', 40_000, (1e-3, 1, 7), (1e-5, 10 ** -1.5, 8))])
def test_the_grids_are_the_papers(name, steps, rates, decays):
    config = load_config(FOLDER / f'{name}.py')
    found = list(config.protocol.weight_decay)
    if name == 'transfer-finetune':
        assert found.pop(0) == 0
    assert is_geometric(found, *decays) and is_geometric(config.protocol.lr, *rates)
    assert config.train_cfg.max_iters == steps and config.train_dataloader.batch_size == 256
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.momentum == 0.9 and optimizer.nesterov
    assert config.protocol.get('from_scratch', False) == (name == 'transfer-random-init')
    assert any(hook.type.__name__ == 'BatchNormMomentumHook' for hook in config.custom_hooks)


def test_logistic_regression_on_cifar_10_takes_a_layer_and_a_part_of_the_training_images():
    path = FOLDER / 'logistic_cifar10.py'
    config = load_config(path, {'protocol.feature': 'projection',
                                'protocol.tasks.0.train.num_images': 20_000})
    built = PROTOCOLS.build(config.protocol)
    task, = built.tasks
    assert built.feature == 'projection' and is_geometric(built.l2, 1e-6, 1, 7)
    assert (task.metric, task.train['num_images'], task.test['split']) == (TOP_1, 20_000, 'test')
    assert PROTOCOLS.build(load_config(path).protocol).feature == 'pooled'
