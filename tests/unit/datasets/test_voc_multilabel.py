import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_voc import CLASSES, SPLITS, label, make_devkit

from mmsimclr.datasets import VOCMultiLabel
from mmsimclr.registry import DATASETS

SOURCES = ('annotations', 'image_sets')


@pytest.fixture
def devkit(tmp_path) -> Path:
    return make_devkit(tmp_path / 'VOC2007')


def labels(dataset) -> list[list[int]]:
    return [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]


@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('split', SPLITS)
def test_labels_are_1_present_0_absent_and_minus_1_only_difficult(devkit, split, source):
    dataset = VOCMultiLabel(str(devkit), split, source)
    assert labels(dataset) == [label(name) for name in SPLITS[split]]
    assert [Path(dataset.get_data_info(i)['img_path']).name for i in range(len(dataset))] == \
        [f'{name}.jpg' for name in SPLITS[split]]
    assert all(Path(dataset.get_data_info(i)['img_path']).is_file() for i in range(len(dataset)))


def test_one_object_that_is_not_difficult_makes_the_class_present(devkit):
    place = {cls: number for number, cls in enumerate(CLASSES)}
    first, _, third = labels(VOCMultiLabel(str(devkit)))
    assert (first[place['cat']], first[place['dog']], third[place['dog']], third[place['aeroplane']]) == (
        1, 0, -1, 1)
    dataset = VOCMultiLabel(str(devkit), 'test')
    assert labels(dataset)[1][place['cat']] == 1 and labels(dataset)[1][place['person']] == -1


def test_it_is_built_by_name_with_twenty_classes(devkit):
    dataset = DATASETS.build(dict(type='VOCMultiLabel', data_root=str(devkit), indices=2))
    assert len(dataset) == 2 and len(dataset.metainfo['classes']) == len(labels(dataset)[0]) == 20


@pytest.mark.parametrize('lost, source, message', [
    ('.', 'annotations', r'no VOC devkit at .*VOC2007\. .*VOCtrainval_06-Nov-2007\.tar.*JPEGImages/'),
    ('ImageSets/Main/trainval.txt', 'annotations', 'no list .*trainval.txt.*host.robots'),
    ('JPEGImages/a.jpg', 'image_sets', '1 of the 3 files of the trainval split .*a.jpg'),
    ('Annotations', 'annotations', '3 of the 3 files of the trainval split.*b.xml.*has the test'),
    ('ImageSets/Main/cat_trainval.txt', 'image_sets', 'no list .*cat_trainval.txt')])
def test_a_devkit_that_is_not_whole_is_refused_with_where_to_get_it(devkit, lost, source, message):
    path = devkit / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        VOCMultiLabel(str(devkit), 'trainval', source)


@pytest.mark.parametrize('file, text, source, message', [
    ('ImageSets/Main/trainval.txt', '\n', 'annotations', 'trainval.txt lists no images'),
    ('ImageSets/Main/dog_trainval.txt', 'a 1\nb 2\nc -1\n', 'image_sets', 'an image and 1, -1 or 0'),
    ('ImageSets/Main/dog_trainval.txt', 'a 1\nc -1\n', 'image_sets', 'does not list 1 images.* b'),
    ('Annotations/a.xml', '<annotation><object><name>cta</name></object></annotation>', 'annotations',
     "a.xml is not an annotation .*'cta'|a.xml is not an annotation with the classes aeroplane"),
    ('Annotations/a.xml', '<annotation>', 'annotations', 'a.xml is not an annotation')])
def test_lists_and_annotations_that_are_wrong_are_refused_by_name(devkit, file, text, source, message):
    (devkit / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        VOCMultiLabel(str(devkit), 'trainval', source)


@pytest.mark.parametrize('arguments', [dict(split='valid'), dict(labels='xml')])
def test_unknown_arguments_are_refused(devkit, arguments):
    with pytest.raises(ValueError, match=f'{next(iter(arguments))} must be one of'):
        VOCMultiLabel(str(devkit), **arguments)


@pytest.mark.parametrize('year', ['coco_as_voc/VOCdevkit/VOC2007', 'voc2012_subset/VOCdevkit/VOC2012'])
@pytest.mark.parametrize('split', ['trainval', 'test'])
def test_annotations_and_lists_of_real_devkits_agree(root, year, split):
    folder = root.parent / 'shared' / 'data' / year
    if not folder.is_dir():
        pytest.skip(f'no images at {folder}')
    annotations, lists = (np.array(labels(VOCMultiLabel(str(folder), split, source))) for source in SOURCES)
    # The annotations of the VOC2012 subset lack the difficult objects, which its lists still mark.
    agree = annotations == np.where(lists == -1, 0, lists) if 'voc2012' in year else annotations == lists
    assert agree.all() and len(lists) > 80 and (lists == 1).any()
