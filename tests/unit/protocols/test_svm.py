"""The SVM protocol, against the serial loop of the original one."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from oracles.average_precision import slow_average_precision
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC
from tiny_benchmark import shapes, tiny_benchmark

from mmsimclr.features import read_features
from mmsimclr.protocols import SVM, read_predictions, read_result
from mmsimclr.protocols.svm import multi_labels, run_in_parallel, unusable_classes
from mmsimclr.registry import DATASETS

STAGES = ('stem', 'layer1', 'layer2', 'layer3', 'layer4')
COSTS = (1.0, 10.0, 0.5 ** 6)


class MultiShapes:
    """Shapes with the classes of each image: an object that a second one covers is marked as difficult."""

    def __init__(self, num_images, split='train', columns=range(10)):
        self.images = DATASETS.build(shapes(num_images, split, objects='multi', max_objects=3))
        self.columns = list(columns)
        self.metainfo = {'classes': tuple(self.images.metainfo['classes'][column] for column in self.columns)}

    def __len__(self):
        return len(self.images)

    def get_data_info(self, index):
        info = self.images.get_data_info(index)
        label = np.zeros(10, int)
        label[info['gt_bboxes_labels']] = 1
        label[(index * 7) % 10] = -1
        return dict(img=info['img'], gt_label=label[self.columns].tolist())


@pytest.fixture(scope='module', autouse=True)
def registered():
    DATASETS.register_module(name='MultiShapes', module=MultiShapes)
    yield
    DATASETS.module_dict.pop('MultiShapes')


def multi(num_images, split='train', **arguments):
    return dict(type='MultiShapes', num_images=num_images, split=split, **arguments)


def original(train, train_labels, test, test_labels) -> tuple[list, list]:
    """The original protocol for one layer, class after class and cost after cost, on whole features."""
    train, test = (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)
                   for rows in (train.astype(float), test.astype(float)))
    aps, chosen = [], []
    for cls in range(train_labels.shape[1]):
        kept = train_labels[:, cls] != -1
        signs = np.where(train_labels[kept, cls] == 1, 1, -1)
        svms = [LinearSVC(C=cost, class_weight={1: 2, -1: 1}, max_iter=2000, random_state=0)
                for cost in COSTS]
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            validated = [cross_val_score(svm, train[kept], signs, cv=3, scoring='average_precision').mean()
                         for svm in svms]
            best = int(np.argmax(validated))
            scores = svms[best].fit(train[kept], signs).decision_function(test)
        chosen.append(COSTS[best])
        aps.append(slow_average_precision(test_labels[:, cls], scores.astype(np.float32)))
    return aps, chosen


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp('svm') / 'run'
    protocol = SVM(multi(60), multi(50, 'test'), costs=COSTS, stages=('layer1', 'layer4'), num_processes=1)
    return folder, protocol.run(tiny_benchmark(folder))


def test_every_layer_and_class_is_as_in_the_original_serial_loop(done):
    folder, result = done
    parts = {}
    for features in map(read_features, (folder.parent / 'features').iterdir()):
        parts[len(features)] = features
    train, test = parts[60], parts[50]
    assert (train.labels == -1).any() and (train.labels == 1).sum() > 60
    for stage in ('layer1', 'layer4'):
        aps, chosen = original(train.stages[stage], train.labels, test.stages[stage], test.labels)
        assert result.metrics[f'map_{stage}_percent'] == pytest.approx(100 * np.mean(aps), abs=1e-4)
        if stage == result.settings['best_layer']:
            assert list(result.settings['ap_percent'].values()) == pytest.approx(
                [100 * ap for ap in aps], abs=1e-4)
            assert list(result.settings['cost'].values()) == chosen
            assert len(set(chosen)) > 1


def test_the_best_layer_is_reported_and_its_scores_are_kept(done):
    folder, result = done
    layers = {stage: result.metrics[f'map_{stage}_percent'] for stage in ('layer1', 'layer4')}
    assert result.metrics['map_percent'] == max(layers.values()) == layers[result.settings['best_layer']]
    kept = read_predictions(folder / 'predictions.npz')
    aps = [slow_average_precision(labels, scores) for labels, scores in zip(
        kept.labels.T, kept.predicted.T, strict=True)]
    assert result.metrics['map_percent'] == pytest.approx(100 * np.mean(aps), abs=1e-9)


def test_the_result_says_what_decided_it(done):
    folder, result = done
    assert read_result(folder / 'result.json') == result
    settings = result.settings
    assert settings['costs'] == list(COSTS) and settings['best_layer_chosen_on'] == 'test'
    assert settings['init'] == 'random' and settings['squash'] is True and settings['crop_px'] == 32
    assert settings['svm']['class_weight'] == {'1': 2, '-1': 1} and settings['svm']['tol'] == 1e-4
    assert settings['dimensions'] == {'layer1': 4 * 36, 'layer4': 32 * 4}
    assert result.num_images == dict(train=60, test=50)


def test_all_costs_are_in_the_table(done):
    folder, result = done
    with open(folder / 'svm_costs.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 10 * 3
    best = [row for row in rows if row['layer'] == result.settings['best_layer'] and row['chosen'] == '1']
    assert {row['class']: float(row['cost']) for row in best} == result.settings['cost']
    for row in best:
        same = [float(other['cross_validated_ap_percent']) for other in rows
                if (other['layer'], other['class']) == (row['layer'], row['class'])]
        assert len(same) == 3 and float(row['cross_validated_ap_percent']) == max(same)
        assert float(row['test_ap_percent']) == pytest.approx(
            result.settings['ap_percent'][row['class']], abs=1e-3)


@pytest.mark.slow
def test_processes_change_nothing(done, tmp_path):
    protocol = SVM(multi(60), multi(50, 'test'), costs=COSTS, stages=('layer1', 'layer4'), num_processes=2)
    assert protocol.run(tiny_benchmark(tmp_path / 'run')).metrics == done[1].metrics


def test_ignored_training_images_are_left_out_or_negatives_as_asked(done, tmp_path):
    negatives = SVM(multi(60), multi(50, 'test'), costs=COSTS, stages=('layer4',), num_processes=1,
                    ignored_as_negatives=True).run(tiny_benchmark(tmp_path / 'run'))
    assert negatives.settings['ignored_as_negatives'] is True
    assert negatives.metrics['map_layer4_percent'] != done[1].metrics['map_layer4_percent']
    assert np.array_equal(read_predictions(tmp_path / 'run/predictions.npz').labels,
                          read_predictions(done[0] / 'predictions.npz').labels)


def test_single_labels_are_taken_one_against_the_rest(tmp_path):
    result = SVM(shapes(60), shapes(40, 'test'), costs=(1.0,), stages=('layer2',), num_processes=1).run(
        tiny_benchmark(tmp_path / 'run'))
    assert len(result.settings['ap_percent']) == 10 and result.settings['classes_left_out'] == {}
    labels = read_predictions(tmp_path / 'run/predictions.npz').labels
    assert labels.shape == (40, 10) and (labels.sum(axis=1) == 1).all()
    assert 12 < result.metrics['map_percent'] < 100                                  # chance is 10


def test_a_class_with_too_few_images_is_left_out_and_named(tmp_path):
    result = SVM(shapes(39), shapes(20, 'test', indices=list(range(9))), costs=(1.0,), stages=('layer2',),
                 num_folds=4, num_processes=1).run(tiny_benchmark(tmp_path / 'run'))
    left_out = result.settings['classes_left_out']
    assert {reason.split(';')[0] for reason in left_out.values()} == {
        '3 positive and 36 negative training images', '0 positive and 9 negative test images'}
    assert not set(left_out) & set(result.settings['ap_percent']) and \
        len(left_out) + len(result.settings['ap_percent']) == 10
    labels = read_predictions(tmp_path / 'run/predictions.npz').labels
    assert ((labels == -1).all(axis=0)).sum() == len(left_out)
    aps = list(result.settings['ap_percent'].values())
    assert result.metrics['map_percent'] == pytest.approx(np.mean(aps))


def test_different_classes_in_training_and_test_are_refused(tmp_path):
    with pytest.raises(ValueError, match='different classes'):
        SVM(multi(20), multi(20, 'test', columns=range(9)), stages=('layer4',)).run(
            tiny_benchmark(tmp_path / 'run'))


@pytest.mark.parametrize('costs', [(), (1, 1), (1, 0), (1, -2), (float('nan'),)])
def test_costs_out_of_range_are_refused(costs):
    with pytest.raises(ValueError, match='costs must be numbers > 0, each once'):
        SVM(shapes(10), shapes(10), costs=costs)


def test_too_few_folds_are_refused():
    with pytest.raises(ValueError, match='num_folds must be >= 2, got 1'):
        SVM(shapes(10), shapes(10), num_folds=1)


def test_no_number_comes_of_one_image(tmp_path):
    with pytest.raises(ValueError, match='no class can be evaluated'):
        SVM(shapes(1), shapes(1, 'test'), stages=('layer4',)).run(tiny_benchmark(tmp_path / 'run'))
    assert not (tmp_path / 'run' / 'result.json').exists()


def test_failures_to_converge_are_counted_and_not_warned_of(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        result = SVM(shapes(60), shapes(40, 'test'), costs=(100.0,), stages=('layer2',), max_iterations=3,
                     num_processes=1).run(tiny_benchmark(tmp_path / 'run'))
    assert result.settings['num_not_converged'] == 10 * (3 + 1)
    assert json.loads((tmp_path / 'run' / 'result.json').read_text())['settings']['num_not_converged'] == 40


def test_one_class_an_image_becomes_one_against_the_rest():
    assert multi_labels(np.array([2, 0]), 3, 'test').tolist() == [[0, 0, 1], [1, 0, 0]]
    several = np.array([[1, 0, -1], [1, 1, 0]])
    assert multi_labels(several, 3, 'test') is several


@pytest.mark.parametrize('labels, message', [
    (None, 'test images have no labels'), (np.array([0, 3]), r'in \[0, 3\), .* with \[0, 3\]'),
    (np.array([-1, 0]), r'with \[-1, 0\]'), (np.ones((2, 4), int), r'\[N, 3\] .* got shape \[2, 4\]'),
    (np.full((2, 3), 2), r'with \[2\]')])
def test_labels_out_of_range_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        multi_labels(labels, 3, 'test')


def test_classes_with_too_few_images_of_a_kind_are_named_with_their_counts():
    train = np.array([[1, 1, 0, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 1, -1], [0, 0, 0, 1, 0], [0, 0, -1, 0, 0]])
    test = np.array([[1, 1, 1, 1, 0], [0, 0, 0, 0, -1]])
    reasons = unusable_classes(train, test, 'abcde', 2)
    assert sorted(reasons) == ['b', 'c', 'd', 'e']
    assert reasons['b'] == '1 positive and 4 negative training images; 2 and 2 are needed'
    assert reasons['c'].startswith('0 positive and 4 negative training')
    assert reasons['d'].startswith('4 positive and 1 negative training')
    assert reasons['e'].startswith('0 positive and 1 negative test images; 1 and 1')
    with pytest.raises(ValueError, match='no class can be evaluated: a: 2 positive'):
        unusable_classes(train, test, 'abcde', 3)


def scaled_sum(rows, factor, first, second):
    return factor * rows[first:second].sum()


@pytest.mark.parametrize('num_processes', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_tasks_come_back_in_their_order_from_any_number_of_processes(num_processes, capfd):
    rows = np.arange(300_000.)                                      # large enough to be memory-mapped
    tasks = [(first, first + 7) for first in range(9)]
    assert run_in_parallel(scaled_sum, tasks, (rows, 2), num_processes) == [
        2 * sum(range(first, second)) for first, second in tasks]
    assert '9 of 9 SVMs' in capfd.readouterr().err


def _has_ended(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except FileNotFoundError:
        return True


@pytest.mark.slow
def test_the_processes_of_a_killed_one_end_too(tmp_path):
    code = ('import time; from mmsimclr.protocols.svm import run_in_parallel; '
            'run_in_parallel(time.sleep, [(100,)] * 4, (), 2)')
    parent = subprocess.Popen([sys.executable, '-c', code], start_new_session=True)
    try:
        children, deadline = [], time.monotonic() + 90
        while len(children) < 3 and time.monotonic() < deadline:        # two, and joblib's tracker of files
            threads = Path(f'/proc/{parent.pid}/task').glob('*/children')
            children = [int(pid) for path in threads for pid in path.read_text().split()]
            time.sleep(0.1)
        assert len(children) >= 3
        time.sleep(1)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 60
        while not all(map(_has_ended, children)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert all(map(_has_ended, children))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
