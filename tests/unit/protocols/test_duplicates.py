"""Near-duplicates across training and test images: warnings, lists, and what they cost nothing to find."""

import csv

import numpy as np
import pytest
from fixed_features import PARTS, FixedFeatures
from mmengine.config import Config
from PIL import Image

from mmsimclr.errors import InputError
from mmsimclr.features import FeatureFiles
from mmsimclr.protocols import KNN, SVM, read_result, run_benchmark
from mmsimclr.protocols.duplicates import look_for_duplicates


class WithFiles(FixedFeatures):
    """Features of images that are files."""

    paths: dict

    def features(self, dataset, stages='pooled', **preparation):
        found = super().features(dataset, stages, **preparation)
        return FeatureFiles(found.stages, np.array(self.paths[dataset['type']]), found.labels, found.manifest)


@pytest.fixture
def benchmark(tmp_path):
    """Return 60 training and 40 test images; the first four test images are re-encoded training images.

    All features are nearly equal, as those of a bad encoder: only pixels tell.
    """
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (100, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    paths = dict(train=[], test=[])
    for number, picture in enumerate(pictures):
        part = 'train' if number < 60 else 'test'
        paths[part].append(str(tmp_path / f'{part}_{number}.png'))
        Image.fromarray(picture).save(paths[part][-1])
    rows = 1 + 0.01 * rng.normal(size=(100, 16))
    rows[60:64] = rows[10:14] + 1e-5
    for number in range(4):
        Image.fromarray(pictures[10 + number]).save(tmp_path / f'test_{60 + number}.png', 'JPEG', quality=90,
                                                   subsampling=0)
    labels = np.arange(100) % 3
    made = WithFiles(tmp_path / 'work', (rows[:60].astype(np.float32), labels[:60]),
                     (rows[60:].astype(np.float32), labels[60:]), 'pooled')
    made.paths = paths
    return made


def test_the_knn_protocol_warns_with_the_share_and_lists_on_demand(benchmark, monkeypatch):
    said = []
    monkeypatch.setattr(benchmark.logger, 'warning', said.append)
    KNN(**PARTS, k=[3]).run(benchmark)
    assert len(said) == 1 and '10.0 %' in said[0] and '--dedupe' in said[0]
    assert read_result(benchmark.work_dir / 'result.json').settings['near_duplicates_percent'] == 10
    assert not (benchmark.work_dir / 'duplicates.csv').exists()

    benchmark.dedupe = True
    KNN(**PARTS, k=[3]).run(benchmark)
    with open(benchmark.work_dir / 'duplicates.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['test'], row['train']) for row in rows] == [
        (benchmark.paths['test'][number], benchmark.paths['train'][10 + number]) for number in range(4)]
    assert (benchmark.work_dir / 'result.json').is_file()


def test_protocols_without_neighbours_search_for_the_nearest(benchmark):
    train, test = (benchmark.features(part) for part in PARTS.values())
    look_for_duplicates(benchmark, train, test)
    assert benchmark.notes == dict(near_duplicates_percent=10.0)


def test_svms_look_for_them_too(benchmark):
    for part in ('train', 'test'):
        rows, labels = benchmark.parts[part]
        benchmark.parts[part] = rows, np.eye(3, dtype=np.int64)[labels]
    SVM(**PARTS, stages=['pooled']).extract(benchmark, min_images=3)
    assert benchmark.notes == dict(near_duplicates_percent=10.0)


def test_a_list_is_refused_of_a_protocol_that_makes_none(tmp_path):
    config = Config(dict(protocol=dict(type='Health', images={}), work_dir=str(tmp_path / 'work')))
    with pytest.raises(InputError, match=r'--dedupe.*k-NN.*SVM.*Health'):
        run_benchmark(config, 'checkpoint.pth', dedupe=True)


def test_different_pictures_with_equal_features_are_no_duplicates(benchmark):
    train, test = (benchmark.features(part) for part in PARTS.values())
    stage = np.ones((40, 16), np.float32)
    others = np.array(benchmark.paths['test'][4:] * 2)[:40]
    apart = FeatureFiles(dict(pooled=stage), others, None, test.manifest)
    look_for_duplicates(benchmark, train, apart)
    assert benchmark.notes == {}


def test_without_files_only_equal_features_count(tmp_path):
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(50, 8)).astype(np.float32), np.arange(50) % 2
    other = np.concatenate([rows[:5], rng.normal(size=(45, 8))]).astype(np.float32)
    made = FixedFeatures(tmp_path, (rows, labels), (other, labels), 'pooled')
    KNN(**PARTS, k=[1]).run(made)
    assert made.notes == dict(near_duplicates_percent=10.0)
