"""Devkits are checked, and what can be made of what is there is made."""

import runpy
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmsimclr.datasets import Shapes
from mmsimclr.datasets.voc_multilabel import CLASSES
from mmsimclr.prepare.devkits import TRAIN_ID, prepare_cityscapes, prepare_coco, prepare_voc, prepare_voc12aug
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
    prepare_voc(devkit, lines.append)
    assert [line.partition(':')[0] for line in lines] == [
        'VOC2007 trainval', 'VOC2007 test', 'VOC2012 trainval']
    assert '6 images (the official split has 5,011), ' in lines[0]
    (devkit / 'VOC2012/ImageSets/Main/trainval.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'VOC2012/ImageSets/Main/trainval\.txt'):
        prepare_voc(devkit, lines.append)


def test_coco_is_checked_with_whatever_categories_it_has(tmp_path):
    root, lines = write_coco(shapes('train', 'val'), tmp_path / 'coco'), []
    prepare_coco(root, lines.append)
    assert [line.split()[1] for line in lines] == ['3', '3']
    next((root / 'val2017').iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 3 images of .*instances_val2017\.json missing'):
        prepare_coco(root, lines.append)


def test_cityscapes_labels_become_training_labels(tmp_path):
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    for split in ('train', 'val'):
        for kind in ('leftImg8bit', 'gtFine'):
            (tmp_path / kind / split / 'town').mkdir(parents=True)
        Image.new('RGB', (17, 2)).save(tmp_path / f'leftImg8bit/{split}/town/town_0_leftImg8bit.png')
        Image.fromarray(ids).save(tmp_path / f'gtFine/{split}/town/town_0_gtFine_labelIds.png')
    prepare_cityscapes(tmp_path, lambda line: None)
    path = tmp_path / 'gtFine/val/town/town_0_gtFine_labelTrainIds.png'
    made = np.asarray(Image.open(path))
    assert {int(i): int(made.ravel()[i]) for i in np.flatnonzero(made.ravel() != 255)} == TRAIN_ID
    # Of the 34 labels, 19 count, numbered in their order: 7 is road and 33 is bicycle.
    assert made[0, 7] == 0 and made.ravel()[33] == 18
    assert [TRAIN_ID[i] for i in sorted(TRAIN_ID)] == list(range(19))
    path.unlink()
    path.with_name('town_0_gtFine_labelIds.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 1 masks of val missing'):
        prepare_cityscapes(tmp_path, lambda line: None)
    with pytest.raises(FileNotFoundError, match='leftImg8bit'):
        prepare_cityscapes(tmp_path / 'x', lambda line: None)


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
    prepare_voc12aug(root, sbd, lines.append)
    names = (root / 'ImageSets/Segmentation/trainaug.txt').read_text().split()
    assert names == ['000001', '000002', '000003', '000007', '000008'], 'VOC train, SBD, without VOC val'
    for name in names[:3]:
        np.testing.assert_array_equal(*(np.asarray(Image.open(root / folder / f'{name}.png')) for folder in (
            'SegmentationClass', 'SegmentationClassAug')))
    assert set(np.asarray(Image.open(root / 'SegmentationClassAug/000007.png')).ravel().tolist()) == {7}
    assert lines[0].startswith('VOC2012 trainaug: 5 images (the official split has 10,582)')
    assert lines[1].startswith('VOC2012 val: 3 images')
    shutil.rmtree(root / 'SegmentationClassAug')
    (sbd / 'cls/000008.mat').unlink()
    with pytest.raises(FileNotFoundError, match=r'no mask .*000008\.mat'):
        prepare_voc12aug(root, sbd, lines.append)


@pytest.mark.parametrize('tool', ['voc', 'coco', 'cityscapes', 'voc12aug'])
def test_the_tools_say_what_is_missing_and_from_where_to_get_it(tool, root, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['x.py', '--data-root', str(tmp_path)])
    with pytest.raises(SystemExit) as status:
        runpy.run_path(str(root / f'tools/prepare_data/{tool}.py'), run_name='__main__')
    error, needed = status.value.code.split('\n')
    assert error.startswith('error: ') and str(tmp_path) in error
    assert needed.startswith('needed: ') and 'http' in needed
