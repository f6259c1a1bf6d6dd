"""Two results compared by the predictions beside them."""

import dataclasses
import hashlib

import numpy as np
import pytest

from mmsimclr.errors import InputError
from mmsimclr.evaluation import average_precision
from mmsimclr.evaluation.metrics import eleven_point_average_precision
from mmsimclr.evaluation.significance import mcnemar_test, permutation_test
from mmsimclr.protocols import Predictions, Result, read_result
from mmsimclr.reporting import compare_results


def write(folder, predicted, labels, images=None, **changes):
    images = np.arange(len(labels)).astype(str) if images is None else images
    predictions = Predictions(labels, predicted, images)
    folder.mkdir(parents=True)
    result = Result(**{**dict(protocol='linear', metrics={'top_1_accuracy_percent': 0.0}, num_images={},
                              seed=0, dataset='Shapes', checkpoint='a.pth',
                              predictions=predictions.write(folder).name), **changes})
    return result.write(folder / 'result.json')


@pytest.fixture
def pair(tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=80)
    a, b = (np.where(generator.random(80) < skill, labels, 9) for skill in (0.8, 0.6))
    paths = write(tmp_path / 'a', a, labels), write(tmp_path / 'b', b, labels, checkpoint='b.pth')
    return labels, a, b, *paths


def test_values_difference_and_p_values_are_those_of_the_predictions(pair):
    labels, a, b, path_a, path_b = pair
    found = compare_results(path_a, path_b, num_exchanges=2000)
    want = 100 * (a == labels).mean(), 100 * (b == labels).mean()
    assert found.values == pytest.approx(want)
    assert found.difference == pytest.approx(found.values[0] - found.values[1]) and found.difference > 0
    assert found.permutation_p == permutation_test(labels, a, b, 'top_1_accuracy_percent', 2000)
    assert found.mcnemar_p == mcnemar_test(labels, a, b)
    text = str(found)
    assert f'{found.difference:+.2f}' in text and 'a.pth' in text and 'exact McNemar' in text


def test_predictions_of_another_result_are_refused(pair):
    *_, path_a, path_b = pair
    predictions = path_a.with_name('predictions.npz')
    digest = hashlib.sha256(predictions.read_bytes()).hexdigest()
    dataclasses.replace(read_result(path_a), predictions_sha256=digest).write(path_a)
    compare_results(path_a, path_b, num_exchanges=10)
    predictions.write_bytes(path_b.with_name('predictions.npz').read_bytes())
    with pytest.raises(InputError, match=f'does not belong to .*a/result.json.*{digest}'):
        compare_results(path_a, path_b, num_exchanges=10)


def test_the_results_own_metric_is_compared(tmp_path, pair):
    labels, a, b, *_ = pair
    paths = [write(tmp_path / name, predicted, labels, metrics={'mean_class_accuracy_percent': 0.0})
             for name, predicted in (('c', a), ('d', b))]
    found = compare_results(*paths, num_exchanges=100)
    assert found.metric == 'mean_class_accuracy_percent' and found.mcnemar_p is None


@pytest.mark.parametrize('own, compared', [
    ('map_percent', 'map_percent'), ('map_k4_percent', 'map_percent'),
    ('11_point_map_percent', '11_point_map_percent')])
def test_images_of_several_classes_are_compared_by_the_map_of_the_protocol(own, compared, tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, size=(30, 3))
    scores = [generator.random((30, 3)).astype(np.float32) for _ in range(2)]
    paths = [write(tmp_path / name, one, labels, metrics={own: 0.0})
             for name, one in zip('ab', scores, strict=True)]
    found = compare_results(*paths, num_exchanges=100)
    assert found.metric == compared
    assert found.accuracy_p == permutation_test(labels, *scores, 'multi_label_accuracy_percent', 100)
    assert 'of average precision' in str(found) and 'of accuracy' in str(found)
    of_accuracy = compare_results(*paths, metric='multi_label_accuracy_percent', num_exchanges=100)
    assert of_accuracy.permutation_p == found.accuracy_p and of_accuracy.accuracy_p is None
    oracle = {'map_percent': average_precision, '11_point_map_percent': lambda truth, column:
              eleven_point_average_precision(truth == 1, column)}[compared]
    assert found.values == pytest.approx([100 * np.mean([oracle(labels[:, k], one[:, k]) for k in range(3)])
                                          for one in scores])
    with pytest.raises(ValueError, match='only for these'):
        compare_results(*paths, metric='top_1_accuracy_percent')


def test_classes_that_the_protocol_left_out_do_not_count(tmp_path):
    generator = np.random.default_rng(0)
    labels = np.eye(3, dtype=int)[np.arange(30) % 3]
    scores = [generator.normal(size=(30, 3)).astype(np.float32) for _ in range(2)]
    more_labels = np.insert(labels, 1, -1, axis=1)
    more_scores = [np.insert(one, 1, 0, axis=1) for one in scores]

    def compare(name, rows, truth):
        return compare_results(*(write(tmp_path / f'{name}{i}', one, truth, metrics={'map_percent': 0.0})
                                 for i, one in enumerate(rows)), num_exchanges=200)
    whole, found = compare('whole', scores, labels), compare('more', more_scores, more_labels)
    assert found.values == whole.values and found.permutation_p == whole.permutation_p


def test_other_data_images_or_labels_are_refused(tmp_path, pair):
    labels, a, _, path, _ = pair
    for name, message, other in [
            ('data', 'different data: Shapes and CIFAR-10', dict(dataset='CIFAR-10')),
            ('images', 'different images', dict(images=np.arange(80)[::-1].astype(str))),
            ('labels', 'different labels', dict(labels=labels[::-1])),
            ('fewer', 'different data', dict(labels=labels[:9], predicted=a[:9]))]:
        with pytest.raises(ValueError, match=message):
            compare_results(path, write(tmp_path / name, **{**dict(predicted=a, labels=labels), **other}))


def test_results_without_predictions_are_refused(tmp_path, pair):
    path = pair[3]
    no_predictions = Result('linear', {}, {}, 0, command='python x').write(tmp_path / 'n' / 'result.json')
    with pytest.raises(ValueError, match=r'has no predictions; repeat .* python x'):
        compare_results(path, no_predictions)
    of_parts = Result('transfer', {}, {}, 0, settings=dict(parts={'X': 'x/result.json'}))
    with pytest.raises(ValueError, match=r'compare one of .*x/result.json'):
        compare_results(of_parts.write(tmp_path / 'p' / 'result.json'), path)
    assert dataclasses.is_dataclass(compare_results(path, path, num_exchanges=10))


@pytest.mark.parametrize('key, values, said', [
    ('images_sha256', (dict(test='a'), dict(test='b')), None), ('resize_px', (32, 64), 'resize_px 32 and 64'),
    ('images_sha256', (dict(train='a', test='c'), dict(train='b', test='c')), ''),
    ('images_sha256', (dict(test='a'), None), ''), ('crop_px', (32, 32), '')])
def test_other_images_of_the_same_names_are_refused_and_another_size_is_said(key, values, said, tmp_path):
    labels = np.arange(6) % 2
    paths = [write(tmp_path / name, labels, labels, settings={key: value})
             for name, value in zip('ab', values, strict=True)]
    if said is None:
        with pytest.raises(InputError, match=key):
            compare_results(*paths, num_exchanges=10)
    else:
        found = compare_results(*paths, num_exchanges=10)
        assert found.preparations == ((said,) if said else ()) and ('mind' in str(found)) == bool(said)
        assert said in str(found) and found.num_images == 6
