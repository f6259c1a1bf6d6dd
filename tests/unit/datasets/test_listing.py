"""One hash for a list of images: the same wherever they lie, another for any other list."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_folder import write_folder
from torch.utils.data import Subset, TensorDataset

from mmsimclr.datasets import (
    InMemoryImages,
    Shapes,
    UnlabeledImageFolder,
    WebDatasetShards,
    data_identity,
    list_sha256,
    with_same_samples,
)
from mmsimclr.prepare.shards import write_shards
from mmsimclr.registry import DATASETS

SHAPES = dict(type='Shapes', num_images=10, image_size=16)


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('images')
    write_folder(root / 'files')
    write_shards(root / 'files', root / 'shards', images_per_shard=4, report=lambda line: None)
    return root


def build(kind: str, root: Path):
    if kind == 'files':
        return UnlabeledImageFolder(data_root=str(root / 'files'))
    if kind == 'shards':
        return WebDatasetShards(data_root=str(root / 'shards'))
    return DATASETS.build(dict(type='mmpretrain.CustomDataset', data_root=str(root / 'files')))


@pytest.mark.parametrize('kind', ['files', 'shards', 'mmpretrain'])
def test_a_list_is_the_same_in_another_folder_and_another_if_a_name_or_an_order_changes(kind, folders,
                                                                                         tmp_path):
    before = list_sha256(build(kind, folders))
    moved = shutil.copytree(folders, tmp_path / 'moved')
    assert list_sha256(build(kind, moved)) == before and len(before) == 64
    if kind != 'shards':
        file = sorted((moved / 'files' / 'cat').iterdir())[0]
        file.rename(file.with_name('another.png'))
        assert list_sha256(build(kind, moved)) != before


def test_labels_count_where_there_are_any(folders, tmp_path):
    moved = shutil.copytree(folders, tmp_path / 'moved')
    (moved / 'files' / 'cat').rename(moved / 'files' / 'aardvark')
    names = [{Path(build('mmpretrain', root).get_data_info(0)['img_path']).name for root in (folders, moved)}]
    assert names and list_sha256(build('mmpretrain', moved)) != list_sha256(build('mmpretrain', folders))


def test_images_without_files():
    def digest(**changes):
        return list_sha256(DATASETS.build(dict(SHAPES, **changes)))
    assert digest() == digest() != digest(num_images=9)
    held = [list_sha256(InMemoryImages(dict(SHAPES, seed=seed))) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_wrappers_are_looked_through_and_subsets_count():
    whole = Shapes(10, 16)
    half = dict(type='BalancedSubset', dataset=SHAPES, fraction=1.0)
    assert list_sha256(DATASETS.build(half)) == list_sha256(whole)
    subsets = [list_sha256(Subset(whole, indices)) for indices in ([0, 1], [0, 1], [1, 0], [0, 2])]
    assert subsets[0] == subsets[1] and len(set(subsets)) == 3


def test_of_a_dataset_of_another_kind_nothing_is_known():
    assert list_sha256([np.zeros(3)]) is None


@pytest.mark.parametrize('kind', ['files', 'shards', 'mmpretrain'])
def test_a_sample_is_of_the_content_wherever_it_lies(kind, folders, tmp_path):
    before = data_identity({'train': build(kind, folders)})
    moved = shutil.copytree(folders, tmp_path / 'moved')
    assert data_identity({'train': build(kind, moved)}) == before and {*before} == {'data.train',
                                                                                    'data.train.sample'}
    for file in (moved / 'files').rglob('*.*'):
        Image.new('RGB', (20, 20), (1, 2, 3)).save(file, 'PNG')
    shutil.rmtree(moved / 'shards')
    write_shards(moved / 'files', moved / 'shards', images_per_shard=4, report=lambda line: None)
    after = data_identity({'train': build(kind, moved)})
    assert after['data.train.sample'] != before['data.train.sample']
    if kind != 'shards':
        assert after['data.train'] == before['data.train'], 'the names are the same'


def test_a_sample_has_sixteen_images_at_most_and_follows_subsets():
    class Asked(Shapes):
        def get_data_info(self, idx):
            asked.append(idx)
            return super().get_data_info(idx)

    asked = []
    whole = Asked(100, 16)
    first = data_identity({'x': Subset(whole, range(10, 90))})
    assert len(asked) == 16 and asked[0] == 10 and asked[-1] == 89
    assert first['data.x.sample'] != data_identity({'x': Subset(whole, range(11, 91))})['data.x.sample']


def test_of_a_dataset_that_says_nothing_there_is_no_identity():
    assert data_identity({'test': TensorDataset(torch.zeros(3))}) == {}


def is_same_sample(first: str, second: str) -> bool:
    then, now = {'data.x.sample': first}, {'data.x.sample': second, 'data.x': 'list'}
    assert with_same_samples(now, {}) == {'data.x': 'list'}, 'an older version took no sample'
    assert with_same_samples(now, then)['data.x'] == 'list'
    return with_same_samples(now, then)['data.x.sample'] == first


def test_a_sample_of_which_a_quarter_was_repaired_is_the_same():
    first = ' '.join(f'{number:08x}' for number in range(16))
    assert is_same_sample(first, first.replace('00000003', 'ffffffff'))
    assert is_same_sample(first, ' '.join(f'{max(number, 4):08x}' for number in range(16)))
    assert not is_same_sample(first, ' '.join(f'{max(number, 5):08x}' for number in range(16)))
    assert not is_same_sample(first, first[:-9]) and not is_same_sample('00000000', 'ffffffff')


def test_an_image_that_is_away_is_one_of_the_sample(folders, tmp_path):
    before = data_identity({'x': build('files', folders)})['data.x.sample']
    moved = shutil.copytree(folders, tmp_path / 'moved')
    dataset = build('files', moved)
    Path(dataset.get_data_info(0)['img_path']).unlink()
    after = data_identity({'x': dataset})['data.x.sample']
    assert after != before and len(after.split()) == len(before.split())
    assert is_same_sample(before, after)
