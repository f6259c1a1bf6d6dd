"""Check VOC, COCO, Cityscapes, VOC12aug and Places205 in the layout of the configs; make what they lack."""

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from mmsimclr.datasets.annotations import check_coco, check_segmentation, check_voc, read_mask
from mmsimclr.datasets.published import (
    OFFICIAL_IMAGES,
    PLACES205_IMAGES,
    PLACES205_LIST,
    PLACES205_SITE,
    VOC_CLASSES,
    read_places205_list,
)
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import atomic_writer, read_regular, read_text
from mmsimclr.prepare.shapes import indexed_image

# Splits and the official numbers of their images.
VOC_SPLITS = {('2007', 'trainval'): OFFICIAL_IMAGES['VOC2007']['train'],
              ('2007', 'test'): OFFICIAL_IMAGES['VOC2007']['test'], ('2012', 'trainval'): 11_540}
COCO_SPLITS = {'train2017': OFFICIAL_IMAGES['COCO']['train'], 'val2017': OFFICIAL_IMAGES['COCO']['test']}
CITYSCAPES_SPLITS = {'train': OFFICIAL_IMAGES['Cityscapes']['train'],
                     'val': OFFICIAL_IMAGES['Cityscapes']['test']}
VOC12AUG_IMAGES, VOC12_VAL_IMAGES = OFFICIAL_IMAGES['VOC2012 augmented'].values()
PLACES205_SPLITS = {'train': 2_448_873, 'val': 20_500}
MAX_MASK_BYTES = 64_000_000
VOC_SITE = 'http://host.robots.ox.ac.uk/pascal/VOC/'
WHERE = {
    'voc': 'VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and VOCtrainval_11-May-2012.tar '
           f'of {VOC_SITE}; unpack them in one folder, and name its VOCdevkit',
    'coco': 'train2017.zip, val2017.zip and annotations_trainval2017.zip of '
            'https://cocodataset.org/#download; unpack them in one folder, and name it',
    'cityscapes': 'leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of '
                  'https://www.cityscapes-dataset.com (an account is needed); unpack them in one folder, and '
                  'name it',
    'places205': f'trainvalsplit_places205.tar.gz and images256.tar of {PLACES205_SITE}; unpack both in one '
                 'folder, and name it',
    'voc12aug': f'VOCtrainval_11-May-2012.tar of {VOC_SITE}, and benchmark.tgz (SBD) of '
                'http://home.bharathh.info/pubs/codes/SBD/download.html',
}
Report = Callable[[str], None]
# labelId: trainId, of the 19 classes that count; cityscapesScripts, labels.py.
TRAIN_ID = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
            26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}


def _compare(splits: Iterable[tuple[str, int, dict[str, int]]], report: Report, allow_missing: bool
             ) -> dict[str, int]:
    """Return the images of splits, each a name, the official number and counts as of the checks.

    MissingFileError if images are missing, and that is not allowed.
    """
    found, missing = {}, []
    for name, official, counts in splits:
        found[name], state = counts['images'], f'the official number is {official:,}'
        if lacking := max(official - found[name], counts.get('absent', 0)):
            missing.append(f'{lacking:,} of the {official:,} images of {name}')
            state = f'{missing[-1]} are missing'
        if 'objects' in counts:
            report(f'{name}: {found[name]:,} images, {counts["objects"]:,} objects: {state}')
    if missing and not allow_missing:
        raise MissingFileError(f'{", ".join(missing)} are missing. Complete the data; or, if a part is what '
                               'you want, say so (--allow-missing): its results do not compare with '
                               'published ones')
    return found


def prepare_voc(root: str | Path, report: Report = print, allow_missing: bool = False) -> dict[str, int]:
    """Check the lists, images and boxes of VOC2007 and VOC2012; return the images of each split.

    ``root`` is the folder ``VOCdevkit``. With ``allow_missing`` splits may have fewer images than official
    ones. MissingFileError if something is missing, InputError if an annotation cannot be right.
    """
    folders = {year: Path(root, f'VOC{year}') for year, _ in VOC_SPLITS}
    return _compare(((f'VOC{year} {split}', official, check_voc(
        folders[year] / f'ImageSets/Main/{split}.txt', folders[year], VOC_CLASSES))
        for (year, split), official in VOC_SPLITS.items()), report, allow_missing)


def prepare_coco(root: str | Path, report: Report = print, allow_missing: bool = False) -> dict[str, int]:
    """Check the images, boxes and masks of train2017 and val2017 of COCO, as :func:`prepare_voc`."""
    return _compare(((split, official, check_coco(
        Path(root, f'annotations/instances_{split}.json'), Path(root, split), None))
        for split, official in COCO_SPLITS.items()), report, allow_missing)


def prepare_places205(root: str | Path, report: Report = print, allow_missing: bool = False
                      ) -> dict[str, int]:
    """Check that all images are there that the lists of Places205 name, as :func:`prepare_voc`.

    ``root`` is the folder of ``trainvalsplit_places205`` and ``images256``. No image is opened.
    """
    def present(split: str) -> dict[str, int]:
        listed = read_places205_list(Path(root, PLACES205_LIST.format(split=split)))
        absent = [path for path, _ in listed if not os.path.isfile(Path(root, PLACES205_IMAGES, path))]
        classes = len({label for _, label in listed})
        report(f'Places205 {split}: {len(listed):,} images of {classes} classes are listed, and '
               f'{len(absent):,} of them are not in {Path(root, PLACES205_IMAGES)}'
               + (f', the first is {absent[0]}' if absent else ''))
        return dict(images=len(listed) - len(absent), absent=len(absent))

    return _compare(((f'Places205 {split}', official, present(split))
                     for split, official in PLACES205_SPLITS.items()), report, allow_missing)


def prepare_cityscapes(root: str | Path, report: Report = print, allow_missing: bool = False
                       ) -> dict[str, int]:
    """Write the missing ``*_labelTrainIds.png`` of Cityscapes, and check images and masks.

    ``root`` is the folder of ``leftImg8bit`` and ``gtFine``; the rest is as for :func:`prepare_voc`.
    """
    table = np.full(256, 255, np.uint8)
    table[list(TRAIN_ID)] = list(TRAIN_ID.values())
    images = {split: sorted(Path(root, 'leftImg8bit', split).glob('*/*_leftImg8bit.png'))
              for split in CITYSCAPES_SPLITS}
    for split, paths in images.items():
        if not paths:
            raise MissingFileError(f'no {Path(root, "leftImg8bit", split)}/*/*_leftImg8bit.png')
    # Before masks are made, which takes minutes.
    _compare(((f'Cityscapes {split}', official, dict(images=len(images[split])))
              for split, official in CITYSCAPES_SPLITS.items()), report, allow_missing)

    def checked(split: str) -> dict[str, int]:
        pairs = []
        for image in images[split]:
            stem = image.name.removesuffix('_leftImg8bit.png')
            mask = Path(root, 'gtFine', split, image.parent.name, f'{stem}_gtFine_labelTrainIds.png')
            ids = mask.with_name(f'{stem}_gtFine_labelIds.png')
            if not mask.is_file() and ids.is_file():
                with atomic_writer(mask) as file:              # so that a mask which is there is whole
                    Image.fromarray(table[_label_ids(ids)]).save(file, format='PNG')
            pairs.append((image, mask))
        return check_segmentation(pairs, 19, split)

    return _compare(((f'Cityscapes {split}', official, checked(split))
                     for split, official in CITYSCAPES_SPLITS.items()), report, allow_missing)


def _label_ids(path: Path) -> np.ndarray:
    ids = read_mask(path)
    if ids.dtype != np.uint8:
        raise InputError(f'{path} has labels of {ids.dtype}, and those of Cityscapes are of 8 bits')
    return ids


def prepare_voc12aug(root: str | Path, sbd: str | Path, report: Report = print, allow_missing: bool = False
                     ) -> dict[str, int]:
    """Write ``SegmentationClassAug`` and ``trainaug.txt`` beside VOC2012's masks, and check them.

    An image of VOC2012's training list keeps VOC's mask; the others of SBD, except those that VOC2012
    validates on, have SBD's. ``root`` is the folder ``VOCdevkit/VOC2012``, ``sbd`` SBD's ``dataset`` folder,
    with ``cls/*.mat``, ``train.txt`` and ``val.txt``; the rest is as for :func:`prepare_voc`.

    Source:
        Hariharan et al. 2011; the union as in Chen et al. 2015 (DeepLab).
    """
    lists = Path(root, 'ImageSets/Segmentation')
    train, val = (_names(lists / f'{split}.txt') for split in ('train', 'val'))
    extra = (_names(Path(sbd, 'train.txt')) | _names(Path(sbd, 'val.txt'))) - val - train
    _compare([('VOC2012 trainaug', VOC12AUG_IMAGES, dict(images=len(train | extra))),
              ('VOC2012 val', VOC12_VAL_IMAGES, dict(images=len(val)))], report, allow_missing)
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
                indexed_image(_sbd_mask(source)).save(file, format='PNG')
    with atomic_writer(lists / 'trainaug.txt') as file:
        file.write(''.join(f'{name}\n' for name in sorted(train | extra)).encode())

    def checked(split: str, folder: Path, names: set[str]) -> dict[str, int]:
        return check_segmentation([(Path(root, 'JPEGImages', f'{name}.jpg'), folder / f'{name}.png')
                                   for name in sorted(names)], 21, split)

    return _compare([
        ('VOC2012 trainaug', VOC12AUG_IMAGES, checked('trainaug', masks, train | extra)),
        ('VOC2012 val', VOC12_VAL_IMAGES, checked('val', Path(root, 'SegmentationClass'), val))],
        report, allow_missing)


def _sbd_mask(path: Path) -> np.ndarray:
    """Return the classes of a mask of SBD, uint8 [H, W]."""
    try:
        mask = loadmat(io.BytesIO(read_regular(path, MAX_MASK_BYTES)), simplify_cells=True)
        mask = np.asarray(mask['GTcls']['Segmentation'])
    except Exception as error:                                  # a damaged .mat fails in any way
        raise InputError(f'{path} is not a mask of SBD: {error}') from error
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise InputError(f'{path} is not a mask of SBD: it has {mask.dtype} {list(mask.shape)}')
    return mask


def _names(path: Path) -> set[str]:
    return set(read_text(path, 'a list of images').split())
