"""Check PASCAL VOC, COCO, Cityscapes and VOC12aug in the layout of the configs, and make what they lack."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from mmsimclr.datasets.annotations import check_coco, check_segmentation, check_voc
from mmsimclr.datasets.voc_multilabel import CLASSES
from mmsimclr.errors import MissingFileError
from mmsimclr.files import atomic_writer
from mmsimclr.prepare.shapes import indexed_image

# Splits and the official numbers of their images.
VOC_SPLITS = {('2007', 'trainval'): 5_011, ('2007', 'test'): 4_952, ('2012', 'trainval'): 11_540}
COCO_SPLITS = {'train2017': 118_287, 'val2017': 5_000}
CITYSCAPES_SPLITS = {'train': 2_975, 'val': 500}
VOC12AUG_IMAGES = 10_582
VOC_SITE = 'http://host.robots.ox.ac.uk/pascal/VOC/'
WHERE = {
    'voc': 'VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and VOCtrainval_11-May-2012.tar '
           f'of {VOC_SITE}; unpack them in one folder, and name its VOCdevkit',
    'coco': 'train2017.zip, val2017.zip and annotations_trainval2017.zip of '
            'https://cocodataset.org/#download; unpack them in one folder, and name it',
    'cityscapes': 'leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of '
                  'https://www.cityscapes-dataset.com (an account is needed); unpack them in one folder, and '
                  'name it',
    'voc12aug': f'VOCtrainval_11-May-2012.tar of {VOC_SITE}, and benchmark.tgz (SBD) of '
                'http://home.bharathh.info/pubs/codes/SBD/download.html',
}
# labelId: trainId, of the 19 classes that count; cityscapesScripts, labels.py.
TRAIN_ID = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
            26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}


def prepare_voc(root: str | Path, report: Callable[[str], None] = print) -> None:
    """Check the lists, images and boxes of VOC2007 and VOC2012.

    Args:
        root: Folder ``VOCdevkit``.
        report: Called with a line for each split.

    Raises:
        FileNotFoundError: If something is missing.
        ValueError: If an annotation cannot be right.
    """
    for (year, split), official in VOC_SPLITS.items():
        base = Path(root, f'VOC{year}')
        counts = check_voc(base / f'ImageSets/Main/{split}.txt', base, CLASSES)
        report(_line(f'VOC{year} {split}', counts, official))


def prepare_coco(root: str | Path, report: Callable[[str], None] = print) -> None:
    """Check the images, boxes and masks of train2017 and val2017 of COCO, as :func:`prepare_voc`."""
    for split, official in COCO_SPLITS.items():
        counts = check_coco(Path(root, f'annotations/instances_{split}.json'), Path(root, split), None)
        report(_line(split, counts, official))


def prepare_cityscapes(root: str | Path, report: Callable[[str], None] = print) -> None:
    """Write the missing ``*_labelTrainIds.png`` of Cityscapes, and check images and masks.

    ``root`` is the folder of ``leftImg8bit`` and ``gtFine``; the rest is as for :func:`prepare_voc`.
    """
    table = np.full(256, 255, np.uint8)
    table[list(TRAIN_ID)] = list(TRAIN_ID.values())
    for split, official in CITYSCAPES_SPLITS.items():
        images = sorted(Path(root, 'leftImg8bit', split).glob('*/*_leftImg8bit.png'))
        if not images:
            raise MissingFileError(f'no {Path(root, "leftImg8bit", split)}/*/*_leftImg8bit.png')
        pairs = []
        for image in images:
            stem = image.name.removesuffix('_leftImg8bit.png')
            mask = Path(root, 'gtFine', split, image.parent.name, f'{stem}_gtFine_labelTrainIds.png')
            ids = mask.with_name(f'{stem}_gtFine_labelIds.png')
            if not mask.is_file() and ids.is_file():
                Image.fromarray(table[np.asarray(Image.open(ids))]).save(mask)
            pairs.append((image, mask))
        report(_line(f'Cityscapes {split}', check_segmentation(pairs, 19, split), official))


def prepare_voc12aug(root: str | Path, sbd: str | Path, report: Callable[[str], None] = print) -> None:
    """Write ``SegmentationClassAug`` and ``trainaug.txt`` beside VOC2012's masks, and check them.

    An image of VOC2012's training list keeps VOC's mask; the others of SBD, except those that VOC2012
    validates on, have SBD's. Errors are those of :func:`prepare_voc`.

    Args:
        root: Folder ``VOCdevkit/VOC2012``.
        sbd: SBD's ``dataset`` folder, with ``cls/*.mat``, ``train.txt`` and ``val.txt``.
        report: Called with a line for each split.

    Source:
        Hariharan et al. 2011; the union as in Chen et al. 2015 (DeepLab).
    """
    lists = Path(root, 'ImageSets/Segmentation')
    train, val = (_names(lists / f'{split}.txt') for split in ('train', 'val'))
    extra = (_names(Path(sbd, 'train.txt')) | _names(Path(sbd, 'val.txt'))) - val - train
    masks = Path(root, 'SegmentationClassAug')
    masks.mkdir(exist_ok=True)
    for name in sorted(train | extra):
        target = masks / f'{name}.png'
        if target.is_file():
            continue
        source = Path(root, 'SegmentationClass', f'{name}.png') if name in train else Path(
            sbd, 'cls', f'{name}.mat')
        if not source.is_file():
            raise MissingFileError(f'no mask {source}')
        with atomic_writer(target) as file:                    # so that a mask which is there is whole
            if name in train:
                file.write(source.read_bytes())
            else:
                mask = loadmat(source, simplify_cells=True)['GTcls']['Segmentation'].astype(np.uint8)
                indexed_image(mask).save(file, format='PNG')
    (lists / 'trainaug.txt').write_text(''.join(f'{name}\n' for name in sorted(train | extra)))
    for split, folder, names, official in (
            ('trainaug', masks, train | extra, VOC12AUG_IMAGES),
            ('val', Path(root, 'SegmentationClass'), val, 1_449)):
        pairs = [(Path(root, 'JPEGImages', f'{name}.jpg'), folder / f'{name}.png') for name in sorted(names)]
        report(_line(f'VOC2012 {split}', check_segmentation(pairs, 21, split), official))


def _names(path: Path) -> set[str]:
    if not path.is_file():
        raise MissingFileError(f'no list {path}')
    return set(path.read_text(encoding='utf-8').split())


def _line(name: str, counts: dict[str, int], official: int) -> str:
    note = '' if counts['images'] == official else f' (the official split has {official:,})'
    return f'{name}: {counts["images"]:,} images{note}, {counts["objects"]:,} objects: nothing is missing'
