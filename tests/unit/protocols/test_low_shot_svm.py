"""The low-shot SVM protocol, against a serial loop over samples, classes and costs."""

import csv
import warnings

import numpy as np
import pytest
from oracles.average_precision import slow_average_precision
from sklearn.svm import LinearSVC
from tiny_benchmark import shapes, tiny_benchmark

from mmsimclr.evaluation.linear_svm import fit_svm
from mmsimclr.features import read_features
from mmsimclr.protocols import LowShotSVM, read_predictions, read_result
from mmsimclr.protocols.svm import draw_images, low_shot_scores

COSTS = (30.0, 1.0, 0.5 ** 8)
KS = (1, 3)
SEED = 8                    # with it the first sample alone would choose another cost than the mean


def protocol(**arguments) -> LowShotSVM:
    return LowShotSVM(shapes(60), shapes(50, 'test'), **{
        'k': KS, 'num_samples': 3, 'negatives_per_positive': 9, 'costs': COSTS, 'stages': ('stem', 'layer4'),
        'num_processes': 1, **arguments})


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp('low') / 'run'
    return folder, protocol().run(tiny_benchmark(folder, seed=SEED))


def serial_loop(train, train_classes, test, test_classes) -> np.ndarray:
    """Mean AP over classes, [k, sample, cost], on whole features."""
    train, test = (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)
                   for rows in (train.astype(float), test.astype(float)))
    maps = np.zeros((len(KS), 3, len(COSTS)))
    for row, k in enumerate(KS):
        for sample in range(3):
            for column, cost in enumerate(COSTS):
                for cls in range(10):
                    truth = (train_classes == cls).astype(int)
                    images = draw_images(truth, k, 9, (SEED, k, sample, cls))
                    with warnings.catch_warnings():
                        warnings.simplefilter('ignore')
                        svm = LinearSVC(C=cost, class_weight={1: 2, -1: 1}, max_iter=2000, random_state=SEED)
                        svm.fit(train[images], 2 * truth[images] - 1)
                    scores = svm.decision_function(test).astype(np.float32)
                    maps[row, sample, column] += slow_average_precision(test_classes == cls, scores) / 10
    return maps


def test_mean_and_deviation_of_the_best_cost_are_those_of_the_serial_loop(done):
    folder, result = done
    parts = {}
    for features in map(read_features, (folder.parent / 'features').iterdir()):
        parts[len(features)] = features
    stage = result.settings['best_layer']
    maps = serial_loop(parts[60].stages[stage], parts[60].labels, parts[50].stages[stage], parts[50].labels)
    for row, k in enumerate(KS):
        best = int(maps[row].mean(axis=0).argmax())
        assert best != maps[row, 0].argmax()
        assert result.settings['cost'][str(k)] == COSTS[best]
        samples = 100 * maps[row, :, best]
        assert result.metrics[f'map_k{k}_percent'] == pytest.approx(samples.mean(), abs=1e-4)
        assert result.metrics[f'map_k{k}_std_percent'] == pytest.approx(samples.std(), abs=1e-4)


def test_the_table_has_every_sample_and_the_best_layer_the_largest_mean(done):
    folder, result = done
    with open(folder / 'low_shot_svm.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(KS) * len(COSTS)
    for row in rows:
        samples = [float(row[f'map_sample_{number}_percent']) for number in (1, 2, 3)]
        assert float(row['map_mean_percent']) == pytest.approx(np.mean(samples), abs=1e-3)
        assert float(row['map_std_percent']) == pytest.approx(np.std(samples), abs=1e-3)
    best = {(stage, k): max(float(row['map_mean_percent']) for row in rows
                            if (row['layer'], row['k']) == (stage, str(k)))
            for stage in ('stem', 'layer4') for k in KS}
    means = {stage: np.mean([best[stage, k] for k in KS]) for stage in ('stem', 'layer4')}
    assert result.settings['best_layer'] == max(means, key=means.get)
    for (stage, k), value in best.items():
        assert result.settings['map_percent_by_layer'][stage][str(k)] == pytest.approx(value, abs=1e-3)


def test_the_result_says_that_it_chose_on_the_test_images(done):
    folder, result = done
    assert read_result(folder / 'result.json') == result
    settings = result.settings
    assert settings['cost_chosen_on'] == 'test' and settings['best_layer_chosen_on'].startswith('test')
    assert settings['k'] == list(KS) and settings['num_samples'] == 3 and settings['k_left_out'] == {}
    assert settings['negatives_per_positive'] == 9 and result.seed == SEED


def test_the_predictions_are_of_one_sample_of_the_largest_k(done):
    folder, result = done
    kept = read_predictions(folder / 'predictions.npz')
    aps = [slow_average_precision(labels, scores)
           for labels, scores in zip(kept.labels.T, kept.predicted.T, strict=True)]
    with open(folder / 'low_shot_svm.csv', newline='') as file:
        of_first_sample = [float(row['map_sample_1_percent']) for row in csv.DictReader(file)
                           if (row['layer'], row['k']) == (result.settings['best_layer'], '3')
                           and float(row['cost']) == result.settings['cost']['3']]
    assert of_first_sample == [pytest.approx(100 * np.mean(aps), abs=1e-4)]


def test_a_draw_has_k_positives_and_its_negatives_and_never_an_ignored_image():
    labels = np.array([1, 0, -1, 0, 1, 0, 1, -1, 0, 0, 1, 0, 0])
    for seed in range(20):
        images = draw_images(labels, 2, 3, (seed,))
        assert sorted(labels[images]) == [0] * 6 + [1] * 2 and len(set(images)) == 8
    draws = [tuple(draw_images(labels, 2, 3, (0, 2, sample, 0))) for sample in range(10)]
    assert len(set(draws)) > 5


def test_scores_of_all_costs_are_those_of_each_svm():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(40, 6)), random.normal(size=(9, 6))
    labels = (np.arange(40)[:, None] % 4 == 0).astype(int)
    scores, failed = low_shot_scores(train, test, labels, COSTS, 2, 3, 2000, 4, 1, 0)
    images = draw_images(labels[:, 0], 4, 2, (3, 4, 1, 0))
    fits = [fit_svm(train[images], labels[images, 0], cost, 3) for cost in COSTS]
    for column, (svm, _) in zip(scores.T, fits, strict=True):
        np.testing.assert_allclose(column, svm.decision_function(test), rtol=1e-5)
    assert failed == sum(not converged for _, converged in fits)


def test_another_seed_draws_other_images_and_the_same_one_the_same(done, tmp_path):
    again = protocol().run(tiny_benchmark(tmp_path / 'run', seed=SEED))
    other = protocol().run(tiny_benchmark(tmp_path / 'other', seed=SEED + 1))
    assert again.metrics == done[1].metrics != other.metrics


def test_the_samples_of_a_k_do_not_depend_on_the_other_ks_or_on_the_layers(done, tmp_path):
    stage = done[1].settings['best_layer']
    alone = protocol(k=(3,), stages=(stage,)).run(tiny_benchmark(tmp_path / 'run', seed=SEED))
    assert alone.metrics == {name: value for name, value in done[1].metrics.items() if 'k3' in name}


def test_a_k_that_a_class_has_too_few_images_for_is_left_out_and_named(tmp_path):
    result = protocol(k=(2, 6, 7), stages=('layer4',), num_samples=1).run(tiny_benchmark(tmp_path / 'run'))
    assert result.settings['k'] == [2, 6] and list(result.settings['k_left_out']) == ['7']
    assert 'has 6 positive and 54 negative training images; 7 and 63 are needed' in \
        result.settings['k_left_out']['7']
    assert not any('k7' in name for name in result.metrics)
    negatives = protocol(k=(1, 6), negatives_per_positive=10, stages=('layer4',), num_samples=1).run(
        tiny_benchmark(tmp_path / 'other'))
    assert list(negatives.settings['k_left_out']) == ['6']
    with pytest.raises(ValueError, match=r'no k can be evaluated: with k=7, .* has 6 positive'):
        protocol(k=(7,), stages=('layer4',)).run(tiny_benchmark(tmp_path / 'run'))


@pytest.mark.parametrize('arguments', [dict(k=()), dict(k=(0, 1)), dict(num_samples=0),
                                       dict(negatives_per_positive=0)])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match='k, num_samples and negatives_per_positive must be >= 1'):
        protocol(**arguments)


def test_the_best_layer_is_best_with_the_cost_that_is_best_for_it(tmp_path, monkeypatch):
    """It is not the best on average over the costs."""
    by_cost = {'stem': (0.2, 0.9, 0.1), 'layer4': (0.6, 0.6, 0.6)}
    monkeypatch.setattr(LowShotSVM, '_evaluate', lambda self, stage, data, ks, seed: (
        np.tile(np.array(by_cost[stage])[:, None], (len(ks), 1, self.num_samples)), 0))
    result = protocol().run(tiny_benchmark(tmp_path / 'run', seed=SEED))
    assert result.settings['best_layer'] == 'stem' and set(result.settings['cost'].values()) == {COSTS[1]}
