"""Places205 from its published lists."""

import pytest

from mmsimclr.datasets import Places205

PATHS = ('a/abbey/x.jpg,0', 'y/yard/x.jpg,204')


@pytest.fixture
def places(tmp_path):
    def write(*lines):
        (tmp_path / 'trainvalsplit_places205').mkdir(exist_ok=True)
        (tmp_path / 'trainvalsplit_places205/train_places205.csv').write_text('\n'.join(lines))
        return str(tmp_path)
    return write


def test_paths_and_classes_are_those_of_the_list(places, tmp_path):
    dataset = Places205(places(*PATHS))
    assert [(item['img_path'], item['gt_label']) for item in map(dataset.get_data_info, range(2))] == [
        (str(tmp_path / 'images256/a/abbey/x.jpg'), 0), (str(tmp_path / 'images256/y/yard/x.jpg'), 204)]
    assert (dataset.num_missing, len(dataset.metainfo['classes'])) == (0, 205)


def test_images_that_are_not_there_are_left_out_where_that_is_asked_for(places, tmp_path):
    (tmp_path / 'images256/a/abbey').mkdir(parents=True)
    (tmp_path / 'images256/a/abbey/x.jpg').touch()
    dataset = Places205(places(*PATHS), allow_missing=True)
    assert (len(dataset), dataset.num_missing) == (1, 1)
    (tmp_path / 'images256/a/abbey/x.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='none of the 2 images'):
        Places205(places(*PATHS), allow_missing=True)


@pytest.mark.parametrize('lines, message', [
    ((), 'lists no images'), (('a/x.jpg,0', 'a/x.jpg,1'), 'more than once'), (('a/x.jpg 0',), 'line 1'),
    (('a/x.jpg,0', 'a/y.jpg,205'), 'line 2.*0 to 204'), (('a/x.jpg,-1',), 'line 1'),
    (('../x.jpg,1',), 'below'), (('/etc/x.jpg,1',), 'below'), (('a/x.jpg,1e0',), 'line 1'),
    (('a/x.jpg,' + '9' * 5000,), 'line 1')])
def test_a_list_of_another_form_is_refused_with_its_line(places, lines, message):
    with pytest.raises(ValueError, match=message):
        Places205(places(*lines))


def test_a_list_that_is_not_there_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'train_places205\.csv: .*205\.tar\.gz of http'):
        Places205(str(tmp_path))
