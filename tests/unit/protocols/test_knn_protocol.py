"""The k-NN protocol against scikit-learn and a plain loop over images."""

import math

import numpy as np
import pytest
import torch
from fixed_features import PARTS, FixedFeatures
from PIL import Image
from processes import ROOT
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from tiny_benchmark import shapes, tiny_benchmark

from mmsimclr.config import load_config
from mmsimclr.protocols import KNN, knn_accuracy, read_predictions, read_result
from mmsimclr.protocols.knn import accuracies, shared_search


def digits() -> tuple:
    data, target = load_digits(return_X_y=True)
    data, target = torch.from_numpy(data).float(), torch.from_numpy(target)
    return data[:400], target[:400], data[400:600], target[400:600]


def sampled(num_bank: int = 50, num_queries: int = 31, num_classes: int = 7) -> tuple:
    """Return bank, its labels, queries and theirs; directions on a coarse lattice, so that many are equal."""
    random = np.random.default_rng(0)
    bank_labels = np.arange(num_bank) % num_classes
    query_labels = random.integers(num_classes, size=num_queries)
    lattice = np.array([[5, 0, 0], [0, 5, 0], [0, 0, 5], [3, 4, 0], [0, 3, 4], [4, 0, 3]], np.float32) / 5
    bank, queries = (lattice[random.integers(6, size=size)] for size in (num_bank, num_queries))
    return bank, bank_labels, queries, query_labels


def knn_metrics(bank, bank_labels, queries, query_labels, k, temperature) -> tuple:
    found = shared_search(bank, queries, max(k))
    return accuracies(*found, bank_labels, query_labels, k, temperature)


def loop(bank, bank_labels, queries, query_labels, k, temperature) -> tuple[float, float, list[int]]:
    """Classify one query after another in plain Python; return top-1, top-5 and the predictions."""
    top_1 = top_5 = 0
    predicted = []
    for query, truth in zip(queries.tolist(), query_labels.tolist(), strict=True):
        similarities = []
        for row, vector in enumerate(bank.tolist()):
            product = sum(a * b for a, b in zip(query, vector, strict=True))
            similarities.append((-round(product / math.hypot(*query) / math.hypot(*vector), 5), row))
        votes = {}
        for negated, row in sorted(similarities)[:k]:
            cls = int(bank_labels[row])
            votes[cls] = votes.get(cls, 0) + math.exp(-negated / temperature)
        ranking = sorted(votes, key=lambda cls: (-round(votes[cls] / max(votes.values()), 5), cls))
        predicted.append(ranking[0])
        top_1 += ranking[0] == truth
        top_5 += truth in ranking[:5]
    return 100 * top_1 / len(queries), 100 * top_5 / len(queries), predicted


@pytest.mark.parametrize('k', [1, 20])
def test_accuracy_on_digits_equals_scikit_learns(k):
    bank, labels, queries, truth = digits()
    reference = KNeighborsClassifier(k, metric='cosine', algorithm='brute',
                                     weights=lambda d: torch.tensor((1 - d) / 0.07).exp().numpy())
    reference.fit(bank, labels)
    want = 100 * reference.score(queries, truth)
    assert 80 < want < 100
    assert knn_accuracy(bank, labels, queries, truth, 10, k=k) == pytest.approx(want)
    metrics, predicted = knn_metrics(*(part.numpy() for part in (bank, labels, queries, truth)), [k], 0.07)
    assert metrics[f'top_1_accuracy_k{k}_percent'] == pytest.approx(want)
    assert np.array_equal(predicted[k], reference.predict(queries))


def test_top_5_on_digits_equals_that_of_scikit_learns_votes():
    bank, labels, queries, truth = (part.numpy() for part in digits())
    reference = KNeighborsClassifier(60, metric='cosine', algorithm='brute',
                                     weights=lambda d: np.exp((1 - d) / 0.5)).fit(bank, labels)
    votes = reference.predict_proba(queries)
    ranked = np.argsort(-votes, axis=1, kind='stable')[:, :5]
    want = np.mean([truth[i] in ranked[i] and votes[i, truth[i]] > 0 for i in range(len(truth))])
    metrics, _ = knn_metrics(bank, labels, queries, truth, [60], 0.5)
    assert metrics['top_5_accuracy_k60_percent'] == pytest.approx(100 * want)


@pytest.mark.parametrize('k', [1, 2, 5, 11, 50, 80])
@pytest.mark.parametrize('temperature', [0.07, 1.0])
def test_ties_are_decided_as_by_a_plain_loop(k, temperature):
    parts = sampled()
    top_1, top_5, predicted = loop(*parts, k, temperature)
    metrics, got = knn_metrics(*parts, [k], temperature)
    assert got[k].tolist() == predicted
    assert metrics == {f'top_1_accuracy_k{k}_percent': pytest.approx(top_1),
                       f'top_5_accuracy_k{k}_percent': pytest.approx(top_5)}


def test_a_class_without_votes_is_not_in_the_top_5():
    bank, labels = np.eye(6, dtype=np.float32), np.arange(6)
    queries = np.eye(6, dtype=np.float32)[[0, 0]]
    metrics, _ = knn_metrics(bank, labels, queries, np.array([0, 1]), [1, 2], 0.07)
    # Class 1 is second in number, but with k = 1 only class 0 votes; with k = 2 class 1 does too.
    assert metrics['top_5_accuracy_k1_percent'] == 50 and metrics['top_5_accuracy_k2_percent'] == 100


def test_several_k_are_those_of_each_alone():
    parts = sampled()
    metrics, predicted = knn_metrics(*parts, [3, 9, 20], 0.07)
    for k in (3, 9, 20):
        alone, of_k = knn_metrics(*parts, [k], 0.07)
        assert alone.items() <= metrics.items() and np.array_equal(of_k[k], predicted[k])


@pytest.mark.parametrize('part', [0, 2])
def test_features_that_are_not_finite_are_refused(part):
    parts = list(sampled())
    parts[part] = parts[part].copy()
    parts[part][3, 1] = np.inf
    with pytest.raises(ValueError, match='not finite'):
        knn_metrics(*parts, [4], 0.07)


@pytest.mark.parametrize('part, labels, message', [
    (1, None, 'k-NN: the images have no labels'), (3, None, 'no labels'),
    (3, np.full(31, 7), r'classes \[7\] are in validation or test'),
    (1, np.full(50, -1), 'labels must be >= 0'),
    (1, np.full(50, 3), r'k-NN training images must be of two classes or more, and are all of class \[3\]'),
    (3, np.ones((31, 7), int), r'labels are \[\[50\], \[31, 7\]\]')])
def test_labels_that_cannot_be_compared_are_refused(part, labels, message, tmp_path):
    parts = list(sampled())
    parts[part] = labels
    with pytest.raises(ValueError, match=message):
        KNN(**PARTS, k=(4,)).run(FixedFeatures(tmp_path, parts[:2], parts[2:], 'pooled'))


def test_several_classes_an_image_are_refused(tmp_path):
    several = np.eye(6, dtype=np.float32), np.eye(6, dtype=int)
    with pytest.raises(ValueError, match=r'one class for each image, got labels \[6, 6\]'):
        KNN(**PARTS, k=(4,)).run(FixedFeatures(tmp_path, several, several, 'pooled'))


def test_the_result_says_k_and_temperature_and_keeps_the_predictions_of_the_best_k(tmp_path):
    bank, bank_labels, queries, query_labels = sampled()
    result = KNN(**PARTS, k=(30, 2), temperature=0.1).run(FixedFeatures(
        tmp_path, (bank, bank_labels), (queries, query_labels), 'pooled'))
    assert read_result(tmp_path / 'result.json') == result
    assert result.settings['k'] == [2, 30] and result.settings['temperature'] == 0.1
    accuracy = {k: result.metrics[f'top_1_accuracy_k{k}_percent'] for k in (2, 30)}
    best = max(accuracy, key=accuracy.get)
    assert accuracy[2] != accuracy[30] and result.settings['predictions'] == f'k={best}, the best on test'
    kept = read_predictions(tmp_path / 'predictions.npz')
    assert 100 * np.mean(kept.predicted == kept.labels) == pytest.approx(accuracy[best])


def test_images_go_through_the_encoder_and_each_is_nearest_to_itself(tmp_path):
    result = KNN(shapes(40), shapes(40, indices=30), k=(1,)).run(tiny_benchmark(tmp_path / 'run'))
    assert result.num_images == dict(train=40, test=30) and result.settings['crop_px'] == 32
    assert result.settings['feature'] == 'average of the last map' and result.settings['init'] == 'random'
    assert result.metrics['top_1_accuracy_k1_percent'] == 100


@pytest.mark.parametrize('arguments, message', [
    (dict(k=()), 'at least one'), (dict(k=(5, 0)), 'must be >= 1'),
    (dict(temperature=0), 'temperature must be > 0')])
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        KNN(**PARTS, **arguments)


def class_folders(root, *names):
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng([number, i]).integers(256, size=(40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f'{i}.png')


def folder_leaf(root):
    return load_config(ROOT / 'configs/benchmarks/classification/knn_folder.py',
                       {'data_root': str(root), 'protocol.k': [1]})


def test_two_folders_are_measured_and_images_named_below_their_root(tmp_path):
    for part in ('train', 'val'):
        class_folders(tmp_path / 'images' / part, 'cat', 'dog')
    result = KNN(**without_type(folder_leaf(tmp_path / 'images'))).run(tiny_benchmark(tmp_path / 'run'))
    assert result.metrics['top_1_accuracy_k1_percent'] == 100                 # each image is in both
    names = read_predictions(tmp_path / 'run/predictions.npz').images.tolist()
    assert names == [f'val/{name}/{i}.png' for name in ('cat', 'dog') for i in range(2)]


def test_a_class_that_only_one_folder_has_gives_no_number(tmp_path):
    class_folders(tmp_path / 'images/train', 'ant', 'cat', 'dog')
    class_folders(tmp_path / 'images/val', 'cat', 'dog')                    # cat would be 0 here, and 1 there
    with pytest.raises(ValueError, match='only one has ant'):
        KNN(**without_type(folder_leaf(tmp_path / 'images'))).run(tiny_benchmark(tmp_path / 'run'))


def without_type(config):
    return {key: value for key, value in config.protocol.items() if key != 'type'}


def test_a_result_knows_the_content_of_its_images_and_its_config(tmp_path):
    from PIL import Image
    from tiny_benchmark import tiny_benchmark

    from mmsimclr.protocols import KNN
    results = {}
    for name, shade in (('a', 10), ('b', 90), ('copy of a', 10)):
        for part in ('train', 'val'):
            for number in range(4):
                path = tmp_path / name / part / f'class{number % 2}' / f'{number}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new('RGB', (16, 16), (shade + number * (part == 'val'), number, 0)).save(path)
        datasets = {key: dict(type='ClassFolders', data_root=str(tmp_path / name), split=part)
                    for key, part in (('train', 'train'), ('test', 'val'))}
        results[name] = KNN(**datasets, k=[1]).run(tiny_benchmark(tmp_path / f'run {name}')).settings
    assert results['a']['images_sha256'].keys() == {'train', 'test'}
    assert results['a']['images_sha256'] == results['copy of a']['images_sha256']
    assert results['a']['images_sha256']['test'] != results['b']['images_sha256']['test']
    assert results['a']['config_sha256'] == results['b']['config_sha256']
