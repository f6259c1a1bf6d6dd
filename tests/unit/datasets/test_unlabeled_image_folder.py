import copy
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import unlabeled_image_folder as image_files
from mmsimclr.datasets.unlabeled_image_folder import UnlabeledImageFolder
from mmsimclr.engine import SampleIndex
from mmsimclr.registry import DATASETS


def load(item):
    """Read the image; raise OSError where that fails, as the project's own transform does."""
    with Image.open(item['img_path']) as image:
        return {**item, 'img': np.asarray(image)}


def _save(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)
    return path


def _relative(dataset):
    return [os.path.relpath(dataset[i]['img_path'], dataset.data_root)
            for i in range(len(dataset))]


@pytest.fixture
def root(tmp_path):
    """Ten good images, one text, one hidden image, at three depths."""
    for number, name in enumerate(
            ['z.png', 'a/b/c/1.JPG', 'a/b/c/0.jpeg', 'a/2.webp', 'a.bmp', 'B/3.tif', 'B/4.TIFF',
             'a/b/ü ß.png', 'a-b/5.png', 'm.jpg']):
        _save(tmp_path / 'images' / name, number)
    (tmp_path / 'images' / 'a' / 'notes.txt').write_text('none')
    _save(tmp_path / 'images' / 'a' / '._2.png')
    _save(tmp_path / 'images' / '.thumbnails' / 'z.png')
    return tmp_path / 'images'


def _corrupt(root, *names):
    for name in names:
        (root / name).write_bytes(b'no image at all')


def test_finds_images_at_any_depth_in_byte_order(root):
    assert _relative(UnlabeledImageFolder(str(root))) == [
        'B/3.tif', 'B/4.TIFF', 'a-b/5.png', 'a.bmp', 'a/2.webp', 'a/b/c/0.jpeg', 'a/b/c/1.JPG',
        'a/b/ü ß.png', 'm.jpg', 'z.png']


def test_item_is_path_and_the_very_index_object(root):
    index = SampleIndex(8, epoch=1, seed=2)
    item = UnlabeledImageFolder(str(root))[index]
    assert item == {'img_path': str(root / 'm.jpg'), 'sample_idx': 8}
    assert item['sample_idx'] is index


def test_negative_index_counts_from_the_end_and_beyond_is_refused(root):
    dataset = UnlabeledImageFolder(str(root))
    assert dataset[-1] == {'img_path': str(root / 'z.png'), 'sample_idx': 9}
    for beyond in (10, -11):
        with pytest.raises(IndexError):
            dataset[beyond]


@pytest.mark.parametrize('extensions', [['.png'], ['PNG'], ('png', '.PNG')])
def test_extensions_are_taken_with_or_without_dot_and_case(root, extensions):
    assert _relative(UnlabeledImageFolder(str(root), extensions=extensions)) == [
        'a-b/5.png', 'a/b/ü ß.png', 'z.png']


def test_max_images_is_spread_over_the_folders(root):
    assert _relative(UnlabeledImageFolder(str(root), max_images=4)) == [
        'B/3.tif', 'a-b/5.png', 'a/b/c/0.jpeg', 'a/b/ü ß.png']
    assert len(UnlabeledImageFolder(str(root), max_images=99)) == 10


@pytest.mark.parametrize(('indices', 'places'), [
    (3, [0, 1, 2]), (-2, [8, 9]), ([5, 9, 0, -1], [5, 9, 0, 9]), (10, range(10)),
    (-10, range(10))])
def test_indices_and_subsets_are_the_same_images(root, indices, places):
    whole = UnlabeledImageFolder(str(root))
    expected = [_relative(whole)[place] for place in places]
    in_place = copy.deepcopy(whole)
    in_place.get_subset_(indices)
    for dataset in (UnlabeledImageFolder(str(root), indices=indices), whole.get_subset(indices),
                    in_place, pickle.loads(pickle.dumps(whole.get_subset(indices)))):
        assert _relative(dataset) == expected
    assert len(whole) == 10


def test_link_loop_ends_and_no_folder_counts_twice(root):
    (root / 'a' / 'b' / 'loop').symlink_to(root, target_is_directory=True)
    (root / 'zz').symlink_to(root / 'a', target_is_directory=True)
    assert len(UnlabeledImageFolder(str(root))) == 10


def test_folders_and_files_behind_links_count(root, tmp_path):
    _save(tmp_path / 'elsewhere' / 'e.png')
    (root / 'link').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
    (root / 'n.png').symlink_to(tmp_path / 'elsewhere' / 'e.png')
    assert {'link/e.png', 'n.png'} <= set(_relative(UnlabeledImageFolder(str(root))))


def test_name_that_is_no_utf8_survives(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b'caf\xe9.png')
    try:
        _save(tmp_path / 'x.png').rename(os.fsdecode(path))
    except OSError:
        pytest.skip('this file system takes UTF-8 names only')
    assert UnlabeledImageFolder(str(tmp_path), pipeline=[load])[0]['img'].shape == (4, 5, 3)


def test_lazy_init_lists_at_first_use(root, tmp_path):
    dataset = UnlabeledImageFolder(str(root), lazy_init=True)
    _save(root / 'zz.png')
    assert len(dataset) == 11
    with pytest.raises(FileNotFoundError):
        UnlabeledImageFolder(str(tmp_path / 'absent'), lazy_init=True).full_init()


def test_a_config_can_name_it(root):
    assert len(DATASETS.build({'type': 'UnlabeledImageFolder', 'data_root': str(root)})) == 10


def test_a_folder_without_an_image_is_told_all_endings(tmp_path):
    (tmp_path / 'IM0001').touch()
    with pytest.raises(FileNotFoundError, match=r'\.jpg, .*\.npy and \.dcm.* 1 other files'):
        UnlabeledImageFolder(str(tmp_path))


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'/absent does not exist.*\.jpg, '):
        UnlabeledImageFolder(str(tmp_path / 'absent'))
    with pytest.raises(FileNotFoundError, match=r'x\.png is not a folder'):
        UnlabeledImageFolder(str(_save(tmp_path / 'x.png')))


def test_folder_without_images_says_what_was_looked_for_and_seen(tmp_path):
    (tmp_path / 'a').mkdir()
    for name in ('x.txt', 'a/y.heic', '.z.png'):
        (tmp_path / name).write_text('')
    with pytest.raises(FileNotFoundError) as caught:
        UnlabeledImageFolder(str(tmp_path))
    for part in (str(tmp_path), '.jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff, .gif', '2 other files',
                 '1 hidden', '1 folders below'):
        assert part in str(caught.value)


def test_files_that_are_passed_over_are_counted_in_the_log(tmp_path, monkeypatch):
    _save(tmp_path / 'a.png')
    for name in ('b.HEIC', 'c.heic', 'notes.txt', 'd'):
        (tmp_path / name).write_text('')
    said = []
    monkeypatch.setattr(image_files, 'print_log', lambda text, logger: said.append(text))
    assert len(UnlabeledImageFolder(str(tmp_path))) == 1
    assert len(said) == 1
    assert said[0].startswith(f'{tmp_path}: 1 images, and 4 other files passed over (.heic 2, ')
    assert '.txt 1' in said[0] and 'without ending 1' in said[0]
    UnlabeledImageFolder(str(tmp_path), extensions=['png', 'heic', 'txt', 'd'])
    assert len(said) == 2 and 'and 1 other files passed over (without ending 1)' in said[1]


def test_nothing_readable_is_an_error_at_once(tmp_path):
    _corrupt(tmp_path, *(f'{number}.png' for number in range(40)))
    with pytest.raises(ValueError, match=r'nothing readable below .*of 40 files.*40 were tried'):
        UnlabeledImageFolder(str(tmp_path))
    _save(tmp_path / '39a.png')
    assert len(UnlabeledImageFolder(str(tmp_path))) == 41


def test_formats_for_your_own_pipeline_are_not_probed(tmp_path):
    (tmp_path / 'x.dcm').write_bytes(b'not for PIL')
    assert len(UnlabeledImageFolder(str(tmp_path), extensions=['.dcm'])) == 1


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'max_images': 0}, '>= 1'), ({'extensions': '.jpg'}, 'a list such as'),
    ({'extensions': []}, 'a list such as'), ({'data_root': ''}, "got ''")])
def test_arguments_out_of_range_are_refused(root, arguments, message):
    with pytest.raises(ValueError, match=message):
        UnlabeledImageFolder(**{'data_root': str(root), **arguments})


def test_pipeline_that_returns_none_is_an_error(root):
    with pytest.raises(RuntimeError, match=r'returned None for .*3\.tif'):
        UnlabeledImageFolder(str(root), pipeline=[lambda item: None])[0]


def test_a_link_that_leads_nowhere_is_an_image_that_cannot_be_read(root):
    (root / 'zz.jpg').symlink_to(root / 'nowhere.jpg')
    (root / 'zz.txt').symlink_to(root / 'nowhere.txt')
    dataset = UnlabeledImageFolder(str(root), pipeline=[load])
    assert dataset.get_data_info(-1)['img_path'].endswith('zz.jpg')
    with pytest.raises(OSError, match=r'zz\.jpg'):
        dataset[-1]


def test_links_to_themselves_and_rings_of_links_end_no_scan(root):
    before = len(UnlabeledImageFolder(str(root)))
    for name, target in dict(loop='loop', ring_1='ring_2', ring_2='ring_1').items():
        (root / name).symlink_to(root / target)
    (root / 'loop.jpg').symlink_to(root / 'loop.jpg')
    dataset = UnlabeledImageFolder(str(root), pipeline=[load])
    assert len(dataset) == before + 1                           # loop.jpg, which cannot be read
    place, = [i for i in range(len(dataset)) if dataset.get_data_info(i)['img_path'].endswith('loop.jpg')]
    with pytest.raises(OSError, match=r'loop\.jpg'):
        dataset[place]


def test_pipes_are_no_images(root):
    before = len(UnlabeledImageFolder(str(root)))
    os.mkfifo(root / 'pipe.jpg')
    assert len(UnlabeledImageFolder(str(root))) == before


@pytest.fixture
def many(tmp_path):
    """Two thousand files called images."""
    for number in range(2000):
        path = tmp_path / 'many' / f'{number % 7}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    _save(tmp_path / 'many' / '0' / 'readable.png')
    return tmp_path / 'many'


def _split(root, split, **kwargs):
    return set(_relative(UnlabeledImageFolder(str(root), split=split, pipeline=[], extensions=['.png', '.x'],
                                              **kwargs)))


@pytest.mark.parametrize('share', [0.05, 0.5])
def test_held_out_images_are_a_share_of_all_and_not_among_those_of_training(many, share):
    everything, train, held_out = (_split(many, name, held_out_share=share) for name in (
        'all', 'train', 'held_out'))
    assert train | held_out == everything
    assert not train & held_out
    # Four standard deviations of a binomial.
    assert abs(len(held_out) - 2001 * share) < 4 * (2001 * share * (1 - share)) ** 0.5


def test_what_is_held_out_stays_so_when_images_are_added_or_the_folder_moves(many):
    before = _split(many, 'held_out')
    for number in range(500):
        (many / f'new{number}.png').touch()
    after = _split(many, 'held_out')
    assert before < after
    assert {name for name in after if not name.startswith('new')} == before
    moved = many.rename(many.with_name('moved'))
    assert _split(moved, 'held_out') == after
    assert _split(moved, 'held_out') < _split(moved, 'held_out', held_out_share=0.1)


@pytest.mark.parametrize(('count', 'has'), [(60, False), (600, True)])
def test_none_is_held_out_where_there_would_be_few(tmp_path, count, has):
    for number in range(count):
        (tmp_path / f'{number}.png').touch()
    _save(tmp_path / 'readable.png')
    train, held_out = _split(tmp_path, 'train'), _split(tmp_path, 'held_out')
    assert len(train) + len(held_out) == count + 1
    assert (len(held_out) >= 16) == has == bool(held_out)


@pytest.mark.parametrize(('name', 'value'), [('split', 'val'), ('held_out_share', 0),
                                               ('held_out_share', 1.0)])
def test_an_unknown_split_and_a_share_out_of_range_are_refused(root, name, value):
    with pytest.raises(ValueError, match=f'{name} must be .*{value}'):
        UnlabeledImageFolder(str(root), **{name: value})
