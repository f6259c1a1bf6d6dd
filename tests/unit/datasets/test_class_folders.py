"""Class folders: as they come, or split by class and seed."""

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import ClassFolders, labels_of
from mmsimclr.errors import InputError, MissingFileError


def write(root, counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new('RGB', (4, 4), (number, 0, 0)).save(root / name / f'{number}.png')
    return root


def parts_of(root, **options):
    return [ClassFolders(str(root), part, **options) for part in ('train', 'val')]


def paths_of(dataset):
    return [dataset.get_data_info(i)['img_path'].removeprefix(str(dataset.data_root))
            for i in range(len(dataset))]


def test_folders_that_came_split_are_taken_as_they_are(tmp_path):
    write(tmp_path / 'train', {'cat': 3, 'ant': 2})
    write(tmp_path / 'val', {'cat': 1, 'ant': 2})
    train, val = parts_of(tmp_path)
    assert train.metainfo['classes'] == val.metainfo['classes'] == ('ant', 'cat')
    assert labels_of(train).tolist() == [0, 0, 1, 1, 1] and labels_of(val).tolist() == [0, 0, 1]
    assert paths_of(val) == ['/val/ant/0.png', '/val/ant/1.png', '/val/cat/0.png']
    assert train.split_rule is None


def test_a_fifth_of_each_class_is_held_out_and_the_parts_share_nothing(tmp_path):
    write(tmp_path, {'ant': 10, 'bee': 20, 'cat': 2})
    train, val = parts_of(tmp_path)
    assert np.bincount(labels_of(val)).tolist() == [2, 4, 1]
    assert np.bincount(labels_of(train)).tolist() == [8, 16, 1]
    assert set(paths_of(train)) | set(paths_of(val)) == {
        f'/{path.relative_to(tmp_path)}' for path in tmp_path.rglob('*.png')}
    assert not set(paths_of(train)) & set(paths_of(val))
    assert val.split_rule == dict(held_out_share=0.2, seed=0)


def test_the_split_follows_from_seed_and_paths_alone(tmp_path):
    counts = {'ant': 30, 'bee': 30}
    first, moved = write(tmp_path / 'first', counts), write(tmp_path / 'moved', counts)
    assert paths_of(parts_of(first)[1]) == paths_of(parts_of(moved)[1])
    assert paths_of(parts_of(first)[1]) != paths_of(parts_of(first, split_seed=1)[1])


@pytest.mark.parametrize('counts, words', [
    ({'ant': 3}, 'one class only'), ({'ant': 3, 'bee': 1}, 'the only image of its class'),
    ({'.': 2, 'ant': 3}, 'in no class folder')])
def test_a_folder_that_cannot_be_split_is_refused(tmp_path, counts, words):
    root = tmp_path / 'photos'
    root.mkdir()
    for name, count in counts.items():
        (root / name).mkdir(exist_ok=True)
        for number in range(count):
            Image.new('RGB', (4, 4)).save(root / name / f'{number}.png')
    with pytest.raises(InputError, match=words):
        len(ClassFolders(str(root), 'val'))


def test_half_of_a_split_is_refused(tmp_path):
    write(tmp_path / 'train', {'ant': 3, 'bee': 3})
    with pytest.raises(MissingFileError, match='val/CLASS'):
        len(ClassFolders(str(tmp_path), 'train'))


def test_what_cannot_be_a_share_is_refused(tmp_path):
    with pytest.raises(InputError, match='held_out_share'):
        ClassFolders(str(tmp_path), 'train', held_out_share=1.0)
