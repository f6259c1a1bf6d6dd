"""Caltech-101's split by seed."""

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import Caltech101

COUNTS = {'BACKGROUND_Google': 7, 'ant': 5, 'Faces': 9}


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> str:
    root = tmp_path_factory.mktemp('caltech')
    for name, count in COUNTS.items():
        (root / '101_ObjectCategories' / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(
                root / '101_ObjectCategories' / name / f'image_{number:04d}.jpg')
    return str(root)


def paths(dataset) -> set:
    return {dataset.get_data_info(i)['img_path'] for i in range(len(dataset))}


def test_each_class_gives_as_many_to_train_and_the_rest_to_test(root):
    train, test = (Caltech101(root, split, num_train=3) for split in ('train', 'test'))
    labels = [train.get_data_info(i)['gt_label'] for i in range(len(train))]
    assert np.bincount(labels).tolist() == [3, 3, 3]
    assert [COUNTS[name] - 3 for name in train.metainfo['classes']] == np.bincount(
        [test.get_data_info(i)['gt_label'] for i in range(len(test))]).tolist()
    assert not paths(train) & paths(test)
    assert len(paths(train) | paths(test)) == sum(COUNTS.values())


def test_the_seed_decides_the_split(root):
    drawn = [paths(Caltech101(root, num_train=3, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_is_missing_or_too_small_is_refused(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'101_ObjectCategories.*data.caltech.edu'):
        Caltech101(str(tmp_path))
    with pytest.raises(ValueError, match='class ant has 5 images; 5 are to train on'):
        Caltech101(root, num_train=5)
    with pytest.raises(ValueError, match='num_train must be an integer >= 1'):
        Caltech101(root, num_train=0)
