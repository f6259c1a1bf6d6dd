"""Transfer by logistic regression: what is fitted to what, chosen on what, and what the result says."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tiny_benchmark import ENCODER, shapes, tiny_benchmark

from mmsimclr.datasets import Shapes
from mmsimclr.protocols import Benchmark, EncoderSource, TransferLinear, read_predictions, read_result
from mmsimclr.protocols.transfer import hold_out
from mmsimclr.registry import DATASETS

L2 = (1e-6, 1e-4, 1e-2)


@DATASETS.register_module(force=True)
class SeveralShapes(Shapes):
    """Shapes that are called by three properties of their class instead of it."""

    def get_data_info(self, idx: int) -> dict:
        info = super().get_data_info(idx)
        label = info['gt_label']
        flags = [label % 2, int(label < 4), -1 if idx % 7 == 0 else int(label in (1, 5, 6))]
        return {**info, 'gt_label': flags}


@DATASETS.register_module(force=True)
class ShuffledShapes(Shapes):
    """Shapes whose labels say nothing."""

    def get_data_info(self, idx: int) -> dict:
        return {**super().get_data_info(idx), 'gt_label': int(np.random.default_rng(idx).integers(10))}


def task(**changes) -> dict:
    return {**dict(name='Shapes', metric='top_1_accuracy_percent', train=shapes(200),
                   test=shapes(150, 'test')), **changes}


def benchmark_of(folder) -> Benchmark:
    # With zero_init_residual an encoder that was never trained sees little but the stem.
    encoder = EncoderSource(None, settings=dict(ENCODER, base_channels=8, zero_init_residual=False))
    return dataclasses.replace(tiny_benchmark(folder / 'work'), encoder=encoder)


def run(folder, *tasks, **arguments):
    return TransferLinear(tasks or [task()], **{'l2': L2, **arguments}).run(benchmark_of(folder))


def features_of(folder, num: int, split: str = 'train'):
    features = benchmark_of(folder).features(shapes(num, split), resize_px=32, crop_px=32)
    return np.asarray(features.stages['pooled'], np.float64), features.labels


def sklearn(features, labels, l2) -> LogisticRegression:
    return LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-6, max_iter=5000).fit(features, labels)


def test_the_result_is_that_of_scikit_learn_chosen_on_held_out_images_and_refitted_on_all(tmp_path):
    result = run(tmp_path)
    train, labels = features_of(tmp_path, 200)
    test, truth = features_of(tmp_path, 150, 'test')
    fit, validate = hold_out(labels, 0.2, seed=0)
    scores = {l2: 100 * sklearn(train[fit], labels[fit], l2).score(train[validate], labels[validate])
              for l2 in L2}
    assert len(set(scores.values())) > 1
    assert result.settings['validation'] == {f'{l2:.3g}': round(score, 2) for l2, score in scores.items()}
    best = max(sorted(L2, reverse=True), key=scores.get)
    assert result.settings['l2'] == best
    reference = sklearn(train, labels, best)
    assert list(result.metrics) == ['top_1_accuracy_percent']
    want = 100 * reference.score(test, truth)
    assert result.metrics['top_1_accuracy_percent'] == pytest.approx(want, abs=0.7)
    predictions = read_predictions(tmp_path / 'work' / result.predictions)
    assert (predictions.predicted == reference.predict(test)).mean() > 0.99
    assert result.num_images == dict(train=160, val=40, test=150)
    assert (result.protocol, result.dataset) == ('transfer linear', 'Shapes')
    assert result.settings['crop_px'] == result.settings['resize_px'] == 32


def test_an_official_validation_split_is_chosen_on_and_refitted_with(tmp_path):
    result = run(tmp_path, task(train=shapes(120), val=shapes(80, 'val')))
    train, labels = features_of(tmp_path, 120)
    val, val_labels = features_of(tmp_path, 80, 'val')
    test, truth = features_of(tmp_path, 150, 'test')
    scores = {l2: 100 * sklearn(train, labels, l2).score(val, val_labels) for l2 in L2}
    assert result.settings['validation'] == {f'{l2:.3g}': round(score, 2) for l2, score in scores.items()}
    both = sklearn(np.concatenate([train, val]), np.concatenate([labels, val_labels]), result.settings['l2'])
    assert result.metrics['top_1_accuracy_percent'] == pytest.approx(100 * both.score(test, truth), abs=0.7)
    assert result.num_images == dict(train=120, val=80, test=150)
    assert result.settings['validation_images'] == 'official'


def test_the_end_of_the_path_is_told(tmp_path):
    for l2 in ((1e-6, 1e4), (1e-6, 1e4, 1e6), (1e4, 1e5, 1e6)):
        settings = run(tmp_path, l2=l2).settings
        best = max(settings['validation'].values())
        assert settings['l2_is_at_end'] == (best in list(settings['validation'].values())[::len(l2) - 1])


def test_images_of_several_classes_get_scores_and_11_point_map(tmp_path):
    several = dict(type='SeveralShapes', image_size=16)
    result = run(tmp_path, task(
        metric='11_point_map_percent', train={**several, 'num_images': 120},
        val={**several, 'num_images': 80, 'split': 'val'},
        test={**several, 'num_images': 150, 'split': 'test'}))
    predictions = read_predictions(tmp_path / 'work' / result.predictions)
    assert predictions.labels.shape == predictions.predicted.shape == (150, 3)
    assert 50 < result.metrics['11_point_map_percent'] < 100


def test_labels_that_say_nothing_give_chance(tmp_path):
    shuffled = dict(type='ShuffledShapes', image_size=16)
    result = run(tmp_path, task(train={**shuffled, 'num_images': 200},
                                test={**shuffled, 'num_images': 300, 'split': 'test'}))
    assert result.metrics['top_1_accuracy_percent'] < 18
    assert run(tmp_path).metrics['top_1_accuracy_percent'] > 22


def test_several_datasets_have_results_of_their_own_and_one_that_sums_up(tmp_path):
    missing = task(name='Not here', root=str(tmp_path / 'nowhere'), needs=('images',), source='somewhere')
    more = task(name='More shapes', metric='mean_class_accuracy_percent', test=shapes(90, 'test'))
    tasks = [task(), more, missing]
    with pytest.raises(FileNotFoundError, match='Not here: no images'):
        run(tmp_path, *tasks)
    result = run(tmp_path, *tasks, skip_missing=True)
    assert list(result.metrics) == ['shapes_top_1_accuracy_percent',
                                    'more_shapes_mean_class_accuracy_percent']
    assert len(result.settings['skipped']) == 1 and result.settings['skipped'][0].startswith('Not here')
    for name, path in result.settings['parts'].items():
        part = read_result(tmp_path / 'work' / path)
        assert part.dataset == name and part.predictions
    assert run(tmp_path, *tasks, datasets='More shapes').dataset == 'More shapes'


@pytest.mark.parametrize('l2', [(), (0.0, 1.0)])
def test_regularisations_must_be_positive(l2):
    with pytest.raises(ValueError, match='l2 must be numbers > 0'):
        TransferLinear([task()], l2=l2)
