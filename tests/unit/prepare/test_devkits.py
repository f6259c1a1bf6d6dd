"""Devkits are checked, and what can be made of what is there is made."""

import runpy
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmsimclr.datasets import Shapes
from mmsimclr.datasets.published import VOC_CLASSES as CLASSES
from mmsimclr.prepare import devkits
from mmsimclr.prepare.devkits import (
    TRAIN_ID,
    prepare_cityscapes,
    prepare_coco,
    prepare_places205,
    prepare_voc,
    prepare_voc12aug,
)
from mmsimclr.prepare.shapes import write_coco, write_voc


def shapes(*splits, **metainfo):
    return {split: Shapes(num_images=3, image_size=40, split='train', seed=seed, objects='multi',
                          max_objects=2, metainfo=metainfo or None) for seed, split in enumerate(splits)}


@pytest.fixture
def devkit(tmp_path):
    base = write_voc(shapes('train', 'val', 'test', classes=CLASSES), tmp_path / 'voc')
    shutil.copytree(base, base.with_name('VOC2012'))
    return base.parent


def test_a_voc_devkit_is_checked_split_by_split(devkit):
    lines = []
    prepare_voc(devkit, lines.append, allow_missing=True)
    assert [line.partition(':')[0] for line in lines] == [
        'VOC2007 trainval', 'VOC2007 test', 'VOC2012 trainval']
    assert '6 images, ' in lines[0] and '5,005 of the 5,011 images' in lines[0]
    assert 'the official number is' not in ''.join(lines)
    with pytest.raises(FileNotFoundError, match=r'5,005 of the 5,011 .*--allow-missing'):
        prepare_voc(devkit, lines.append)
    (devkit / 'VOC2012/ImageSets/Main/trainval.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'VOC2012/ImageSets/Main/trainval\.txt'):
        prepare_voc(devkit, lines.append, allow_missing=True)


def test_coco_is_checked_with_whatever_categories_it_has(tmp_path):
    root, lines = write_coco(shapes('train', 'val'), tmp_path / 'coco'), []
    prepare_coco(root, lines.append, allow_missing=True)
    assert [line.split()[1] for line in lines] == ['3', '3']
    next((root / 'val2017').iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 3 images of .*instances_val2017\.json missing'):
        prepare_coco(root, lines.append, allow_missing=True)


def test_cityscapes_labels_become_training_labels(tmp_path):
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    for split in ('train', 'val'):
        for kind in ('leftImg8bit', 'gtFine'):
            (tmp_path / kind / split / 'town').mkdir(parents=True)
        Image.new('RGB', (17, 2)).save(tmp_path / f'leftImg8bit/{split}/town/town_0_leftImg8bit.png')
        Image.fromarray(ids).save(tmp_path / f'gtFine/{split}/town/town_0_gtFine_labelIds.png')
    prepare_cityscapes(tmp_path, lambda line: None, allow_missing=True)
    path = tmp_path / 'gtFine/val/town/town_0_gtFine_labelTrainIds.png'
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'2,974 of the 2,975 images of Cityscapes train, 499 of'):
        prepare_cityscapes(tmp_path, lambda line: None)
    assert not path.exists(), 'nothing is made of a part that nobody asked for'
    assert prepare_cityscapes(tmp_path, lambda line: None, allow_missing=True) == {
        'Cityscapes train': 1, 'Cityscapes val': 1}
    made = np.asarray(Image.open(path))
    assert {int(i): int(made.ravel()[i]) for i in np.flatnonzero(made.ravel() != 255)} == TRAIN_ID
    # Of the 34 labels, 19 count, numbered in their order: 7 is road and 33 is bicycle.
    assert made[0, 7] == 0 and made.ravel()[33] == 18
    assert [TRAIN_ID[i] for i in sorted(TRAIN_ID)] == list(range(19))
    path.unlink()
    path.with_name('town_0_gtFine_labelIds.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 1 masks of val missing'):
        prepare_cityscapes(tmp_path, lambda line: None, allow_missing=True)
    with pytest.raises(FileNotFoundError, match='leftImg8bit'):
        prepare_cityscapes(tmp_path / 'x', lambda line: None, allow_missing=True)


@pytest.fixture
def sbd(devkit, tmp_path):
    """Write SBD with one image of VOC's train (1), one of val (4), and two of its own (7 and 8)."""
    folder = tmp_path / 'sbd'
    (folder / 'cls').mkdir(parents=True)
    (folder / 'train.txt').write_text('000001\n000004\n000007\n')
    (folder / 'val.txt').write_text('000008\n')
    for number in (1, 4, 7, 8):
        mask = np.full((40, 40), number, np.uint8)
        savemat(folder / f'cls/{number:06d}.mat', {'GTcls': {'Segmentation': mask}})
    return folder


def test_voc12aug_is_voc_s_masks_and_those_of_sbd_that_are_not_validated_on(devkit, sbd):
    root, lines = devkit / 'VOC2012', []
    prepare_voc12aug(root, sbd, lines.append, allow_missing=True)
    names = (root / 'ImageSets/Segmentation/trainaug.txt').read_text().split()
    assert names == ['000001', '000002', '000003', '000007', '000008'], 'VOC train, SBD, without VOC val'
    for name in names[:3]:
        np.testing.assert_array_equal(*(np.asarray(Image.open(root / folder / f'{name}.png')) for folder in (
            'SegmentationClass', 'SegmentationClassAug')))
    assert set(np.asarray(Image.open(root / 'SegmentationClassAug/000007.png')).ravel().tolist()) == {7}
    assert lines[0].startswith('VOC2012 trainaug: 5 images') and '10,577 of the 10,582' in lines[0]
    assert lines[1].startswith('VOC2012 val: 3 images')
    shutil.rmtree(root / 'SegmentationClassAug')
    with pytest.raises(FileNotFoundError, match=r'10,577 of the 10,582 images of VOC2012 trainaug, 1,446 of'):
        prepare_voc12aug(root, sbd, lines.append)
    assert not (root / 'SegmentationClassAug').exists()
    (sbd / 'cls/000008.mat').unlink()
    with pytest.raises(FileNotFoundError, match=r'no mask .*000008\.mat'):
        prepare_voc12aug(root, sbd, lines.append, allow_missing=True)


@pytest.mark.parametrize('tool', ['voc', 'coco', 'cityscapes', 'voc12aug', 'places205'])
def test_the_tools_say_what_is_missing_and_from_where_to_get_it(tool, root, tmp_path, monkeypatch):
    place = [str(tmp_path)] if tool == 'places205' else ['--data-root', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', ['x.py', *place])
    with pytest.raises(SystemExit) as status:
        runpy.run_path(str(root / f'tools/prepare_data/{tool}.py'), run_name='__main__')
    error, needed = status.value.code.split('\n')
    assert error.startswith('error: ') and str(tmp_path) in error
    assert needed.startswith('needed: ') and 'http' in needed


@pytest.mark.parametrize('prepare, found', [
    (lambda devkit: prepare_voc(devkit, print), 6), (lambda devkit: prepare_voc(devkit, print), 7)])
def test_a_whole_split_ends_well_and_one_image_less_does_not(devkit, monkeypatch, prepare, found):
    # The images of write_voc: 6 and 3, and 6 of the copy.
    official = {('2007', 'trainval'): found, ('2007', 'test'): 3, ('2012', 'trainval'): 6}
    monkeypatch.setattr(devkits, 'VOC_SPLITS', official)
    if found == 6:
        assert prepare(devkit) == {'VOC2007 trainval': 6, 'VOC2007 test': 3, 'VOC2012 trainval': 6}
    else:
        with pytest.raises(FileNotFoundError, match=r'^1 of the 7 images of VOC2007 trainval are missing'):
            prepare(devkit)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Write Places205 in the layout of its archives: three images to train, two to validate."""
    (tmp_path / 'trainvalsplit_places205').mkdir()
    for split, paths in dict(train=('a/abbey/x.jpg,0', 'a/abbey/y.jpg,0', 'y/yard/x.jpg,204'),
                             val=('a/abbey/z.jpg,0', 'y/yard/z.jpg,204')).items():
        (tmp_path / f'trainvalsplit_places205/{split}_places205.csv').write_text('\n'.join(paths) + '\n')
        for path in paths:
            image = tmp_path / 'images256' / path.split(',')[0]
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (8, 8)).save(image)
    monkeypatch.setattr(devkits, 'PLACES205_SPLITS', {'train': 3, 'val': 2})
    return tmp_path


def test_places205_is_checked_against_its_published_lists(places):
    lines = []
    assert prepare_places205(places, lines.append) == {'Places205 train': 3, 'Places205 val': 2}
    assert '3 images of 2 classes are listed, and 0 of them' in lines[0]
    (places / 'images256/y/yard/x.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'^1 of the 3 images of Places205 train are missing'):
        prepare_places205(places, lines.append)
    assert prepare_places205(places, lines.append, allow_missing=True)['Places205 train'] == 2
    assert lines[-2].endswith('the first is y/yard/x.jpg')


def test_an_image_too_many_does_not_hide_one_that_is_missing(places):
    (places / 'images256/y/yard/x.jpg').unlink()
    listed = places / 'trainvalsplit_places205/train_places205.csv'
    listed.write_text(listed.read_text() + 'a/abbey/z.jpg,0\n')
    with pytest.raises(FileNotFoundError, match=r'^1 of the 3 images of Places205 train are missing'):
        prepare_places205(places, lambda line: None)
