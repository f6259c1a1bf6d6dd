import shutil
from pathlib import Path

import pytest
from tiny_voc import CLASSES, SPLITS, label, make_devkit

from mmsimclr.datasets import VOCMultiLabel
from mmsimclr.registry import DATASETS


@pytest.fixture
def devkit(tmp_path) -> Path:
    return make_devkit(tmp_path / 'VOC2007')


def labels(dataset) -> list[list[int]]:
    return [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]


@pytest.mark.parametrize('split', SPLITS)
def test_labels_are_1_present_0_absent_and_minus_1_only_difficult(devkit, split):
    dataset = VOCMultiLabel(str(devkit), split)
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


@pytest.mark.parametrize('lost, message', [
    ('.', r'no .*VOC2007.*\. .*VOCtrainval_06-Nov-2007\.tar.*JPEGImages/'),
    ('ImageSets/Main/trainval.txt', 'no .*trainval.txt.*host.robots'),
    ('JPEGImages/a.jpg', '1 of 3 files of the trainval split .*a.jpg'),
    ('Annotations', '3 of 3 files of the trainval split.*b.xml.*has the test')])
def test_a_devkit_that_is_not_whole_is_refused_with_where_to_get_it(devkit, lost, message):
    path = devkit / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        VOCMultiLabel(str(devkit))


@pytest.mark.parametrize('file, text, message', [
    ('ImageSets/Main/trainval.txt', '\n', 'trainval.txt lists no images'),
    ('Annotations/a.xml', '<annotation><object><name>cta</name></object></annotation>',
     "a.xml is not an annotation .*'cta'|a.xml is not an annotation with the classes aeroplane"),
    ('Annotations/a.xml', '<annotation>', 'a.xml is not an annotation')])
def test_lists_and_annotations_that_are_wrong_are_refused_by_name(devkit, file, text, message):
    (devkit / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        VOCMultiLabel(str(devkit))


def test_an_unknown_split_is_refused(devkit):
    with pytest.raises(ValueError, match=r"split must be one of .*'valid'"):
        VOCMultiLabel(str(devkit), split='valid')
