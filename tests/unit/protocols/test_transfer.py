"""Transfer: datasets that are there, images held out, and logistic regression against scikit-learn's."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tiny_benchmark import ENCODER, shapes, tiny_benchmark

from mmsimclr.datasets import Shapes
from mmsimclr.protocols import Benchmark, EncoderSource, TransferLinear, read_predictions, read_result
from mmsimclr.protocols.transfer import (
    TransferDataset,
    about_classes,
    choose_datasets,
    count_classes,
    hold_out,
)
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


@DATASETS.register_module(force=True)
class PartialShapes(Shapes):
    """Shapes of which some are not there."""

    num_missing = 3


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


def test_classes_that_are_absent_from_the_test_are_told():
    assert about_classes(np.array([0, 0, 3]), 4) == dict(num_classes=4, classes_absent_from_test=[1, 2])


def test_what_is_noted_of_one_dataset_is_not_in_the_result_of_the_next(tmp_path):
    partial = task(name='Partial', train={**shapes(200), 'type': 'PartialShapes'})
    parts = run(tmp_path, partial, task()).settings['parts']
    noted = {name: read_result(tmp_path / 'work' / path).settings.get('images_missing')
             for name, path in parts.items()}
    assert noted == {'Partial': {'PartialShapes train': 3}, 'Shapes': None}


def test_where_a_part_was_done_earlier_no_time_is_told_of_all(tmp_path):
    class PartlyDone(TransferLinear):
        def measure(self, benchmark, task):
            benchmark.started = benchmark.started if task.name == 'Shapes' else None
            return super().measure(benchmark, task)

    result = PartlyDone([task(), task(name='Done')], l2=L2[:1]).run(benchmark_of(tmp_path))
    times = [read_result(tmp_path / 'work' / path).wall_time_s for path in result.settings['parts'].values()]
    assert times[0] > 0 and times[1] is None and result.wall_time_s is None


@pytest.mark.parametrize('l2', [(), (0.0, 1.0)])
def test_regularisations_must_be_positive(l2):
    with pytest.raises(ValueError, match='l2 must be numbers > 0'):
        TransferLinear([task()], l2=l2)


def dataset(name: str, root=None, **changes) -> TransferDataset:
    return TransferDataset(**{**dict(name=name, metric='top_1_accuracy_percent', train={}, test={},
                                     root=None if root is None else str(root), needs=('meta/*.txt', 'images'),
                                     source='http://example.org/x.tgz'), **changes})


def test_missing_datasets_are_told_all_at_once_with_source_and_layout(tmp_path):
    tasks = [dataset('Here'), dataset('There', tmp_path / 'there'), dataset('Elsewhere', tmp_path / 'else')]
    with pytest.raises(FileNotFoundError) as error:
        choose_datasets(tasks, None, skip_missing=False)
    text = str(error.value)
    assert text.startswith('2 of 3 datasets are not here') and 'There: no meta/*.txt, images in' in text
    assert 'Elsewhere' in text and 'http://example.org/x.tgz' in text and 'skip_missing' in text


def test_missing_datasets_are_skipped_only_if_asked_and_named(tmp_path):
    tasks = [dataset('Here'), dataset('There', tmp_path / 'there')]
    here, skipped = choose_datasets(tasks, None, skip_missing=True)
    assert [one.name for one in here] == ['Here']
    assert len(skipped) == 1 and skipped[0].startswith('There: no ')
    with pytest.raises(FileNotFoundError, match='1 of 1'):
        choose_datasets(tasks, 'There', skip_missing=True)


def test_a_dataset_is_here_when_all_it_needs_is(tmp_path):
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'images').mkdir()
    assert dataset('X', tmp_path).missing == ['meta/*.txt']
    (tmp_path / 'meta' / 'train.txt').touch()
    assert dataset('X', tmp_path).missing == []


def test_datasets_are_chosen_by_name():
    tasks = [dataset('DTD'), dataset('Food-101'), dataset('VOC2007')]
    assert [one.name for one in choose_datasets(tasks, ['VOC2007', 'DTD'], False)[0]] == ['VOC2007', 'DTD']
    with pytest.raises(ValueError, match=r"no dataset 'Food' .* did you mean 'Food-101'"):
        choose_datasets(tasks, 'Food', False)


def test_the_same_share_of_each_class_is_held_out():
    labels = np.repeat([0, 1, 2], [50, 20, 5])
    fit, validate = hold_out(labels, 0.2, seed=0)
    assert np.bincount(labels[validate]).tolist() == [10, 4, 1]
    assert sorted([*fit, *validate]) == list(range(75))
    assert not np.array_equal(validate, hold_out(labels, 0.2, seed=1)[1])
    assert np.array_equal(validate, hold_out(labels, 0.2, seed=0)[1])


def test_small_classes_keep_an_image_to_fit_to():
    labels = np.array([0, 1, 1, 2, 2, 2])
    for share in (0.01, 0.99):
        fit, validate = hold_out(labels, share, seed=3)
        assert set(labels[fit]) == {0, 1, 2} and set(labels[validate]) == {1, 2}


@pytest.mark.parametrize('labels, message', [
    (np.arange(4), 'no class has two'), (np.zeros(0, int), 'no class has two'),
    (np.zeros((4, 2), int), 'give a val'),
])
def test_what_cannot_be_held_out_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        hold_out(labels, 0.2, seed=0)


def test_classes_without_training_images_are_refused():
    assert count_classes('X', np.array([0, 2, 4]), np.array([2])) == 5
    with pytest.raises(ValueError, match=r'X: classes \[1, 3\] are in validation or test'):
        count_classes('X', np.array([0, 2, 4]), np.array([1, 2]), np.array([3]))
    with pytest.raises(ValueError, match='labels must be >= 0'):
        count_classes('X', np.array([0, -2]), np.array([0]))
    with pytest.raises(ValueError, match='no labels'):
        count_classes('X', np.array([0, 1]), None)
    with pytest.raises(ValueError, match='X training images must be of two classes or more'):
        count_classes('X', np.array([3, 3]), np.array([3]))
    with pytest.raises(ValueError, match='number of classes'):
        count_classes('X', np.zeros((3, 4), int), np.zeros((3, 5), int))


@pytest.mark.parametrize('changes, message', [(dict(metric='accuracy'), 'metric of X must be one of'),
                                              (dict(held_out=1.0), 'held_out of X must be > 0 and < 1')])
def test_wrong_descriptions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataset('X', **changes)
