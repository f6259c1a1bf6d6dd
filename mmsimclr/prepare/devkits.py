"""Check VOC, COCO, Cityscapes, VOC12aug and Places205 in the layout of the configs; make what they lack."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from mmsimclr.datasets.annotations import check_coco, check_segmentation, check_voc, read_mask
from mmsimclr.datasets.places205 import IMAGES, LIST, read_places205_list
from mmsimclr.datasets.places205 import SITE as PLACES205_SITE
from mmsimclr.datasets.voc_multilabel import CLASSES
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import atomic_writer, read_regular, read_text
from mmsimclr.prepare.shapes import indexed_image

# Splits and the official numbers of their images.
VOC_SPLITS = {('2007', 'trainval'): 5_011, ('2007', 'test'): 4_952, ('2012', 'trainval'): 11_540}
COCO_SPLITS = {'train2017': 118_287, 'val2017': 5_000}
CITYSCAPES_SPLITS = {'train': 2_975, 'val': 500}
VOC12AUG_IMAGES, VOC12_VAL_IMAGES = 10_582, 1_449
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
# labelId: trainId, of the 19 classes that count; cityscapesScripts, labels.py.
TRAIN_ID = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
            26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}


class Counts:
    """Images found in splits, and those missing from the official numbers of them."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report, self.found, self.missing = report, {}, {}

    def add(self, name: str, num_images: int, official: int, objects: int | None = None) -> None:
        """Count a split, and report a line on it if its objects are counted."""
        self.found[name] = num_images
        if num_images < official:
            self.missing[name] = f'{official - num_images:,} of the {official:,} images of {name}'
        if objects is not None:
            state = f'{self.missing[name]} are missing' if name in self.missing else 'nothing is missing'
            self.report(f'{name}: {num_images:,} images, {objects:,} objects: {state}')

    def require_all(self, allow_missing: bool) -> None:
        """Raise MissingFileError if images are missing, and that is not allowed."""
        if self.missing and not allow_missing:
            raise MissingFileError(f'{", ".join(self.missing.values())} are missing. Complete the data; or, '
                                   'if a part is what you want, say so (--allow-missing): its results do not '
                                   'compare with published ones')


def prepare_voc(root: str | Path, report: Callable[[str], None] = print, allow_missing: bool = False
                ) -> dict[str, int]:
    """Check the lists, images and boxes of VOC2007 and VOC2012; return the images of each split.

    ``root`` is the folder ``VOCdevkit``. With ``allow_missing`` splits may have fewer images than official
    ones. MissingFileError if something is missing, InputError if an annotation cannot be right.
    """
    counts = Counts(report)
    for (year, split), official in VOC_SPLITS.items():
        base = Path(root, f'VOC{year}')
        checked = check_voc(base / f'ImageSets/Main/{split}.txt', base, CLASSES)
        counts.add(f'VOC{year} {split}', checked['images'], official, checked['objects'])
    counts.require_all(allow_missing)
    return counts.found


def prepare_coco(root: str | Path, report: Callable[[str], None] = print, allow_missing: bool = False
                 ) -> dict[str, int]:
    """Check the images, boxes and masks of train2017 and val2017 of COCO, as :func:`prepare_voc`."""
    counts = Counts(report)
    for split, official in COCO_SPLITS.items():
        checked = check_coco(Path(root, f'annotations/instances_{split}.json'), Path(root, split), None)
        counts.add(split, checked['images'], official, checked['objects'])
    counts.require_all(allow_missing)
    return counts.found


def prepare_places205(root: str | Path, report: Callable[[str], None] = print, allow_missing: bool = False
                      ) -> dict[str, int]:
    """Check that all images are there that the lists of Places205 name, as :func:`prepare_voc`.

    ``root`` is the folder of ``trainvalsplit_places205`` and ``images256``. No image is opened.
    """
    counts = Counts(report)
    for split, official in PLACES205_SPLITS.items():
        listed = read_places205_list(Path(root, LIST.format(split=split)))
        absent = [path for path, _ in listed if not os.path.isfile(Path(root, IMAGES, path))]
        classes = len({label for _, label in listed})
        counts.add(f'Places205 {split}', len(listed) - len(absent), official)
        report(f'Places205 {split}: {len(listed):,} images of {classes} classes are listed, and '
               f'{len(absent):,} of them are not in {Path(root, IMAGES)}'
               + (f', the first is {absent[0]}' if absent else ''))
    counts.require_all(allow_missing)
    return counts.found


def prepare_cityscapes(root: str | Path, report: Callable[[str], None] = print, allow_missing: bool = False
                       ) -> dict[str, int]:
    """Write the missing ``*_labelTrainIds.png`` of Cityscapes, and check images and masks.

    ``root`` is the folder of ``leftImg8bit`` and ``gtFine``; the rest is as for :func:`prepare_voc`.
    """
    table = np.full(256, 255, np.uint8)
    table[list(TRAIN_ID)] = list(TRAIN_ID.values())
    present, images = Counts(report), {}
    for split, official in CITYSCAPES_SPLITS.items():
        images[split] = sorted(Path(root, 'leftImg8bit', split).glob('*/*_leftImg8bit.png'))
        if not images[split]:
            raise MissingFileError(f'no {Path(root, "leftImg8bit", split)}/*/*_leftImg8bit.png')
        present.add(f'Cityscapes {split}', len(images[split]), official)
    present.require_all(allow_missing)                          # before masks are made, which takes minutes
    counts = Counts(report)
    for split, official in CITYSCAPES_SPLITS.items():
        pairs = []
        for image in images[split]:
            stem = image.name.removesuffix('_leftImg8bit.png')
            mask = Path(root, 'gtFine', split, image.parent.name, f'{stem}_gtFine_labelTrainIds.png')
            ids = mask.with_name(f'{stem}_gtFine_labelIds.png')
            if not mask.is_file() and ids.is_file():
                with atomic_writer(mask) as file:              # so that a mask which is there is whole
                    Image.fromarray(table[_label_ids(ids)]).save(file, format='PNG')
            pairs.append((image, mask))
        checked = check_segmentation(pairs, 19, split)
        counts.add(f'Cityscapes {split}', checked['images'], official, checked['objects'])
    return counts.found


def _label_ids(path: Path) -> np.ndarray:
    ids = read_mask(path)
    if ids.dtype != np.uint8:
        raise InputError(f'{path} has labels of {ids.dtype}, and those of Cityscapes are of 8 bits')
    return ids


def prepare_voc12aug(root: str | Path, sbd: str | Path, report: Callable[[str], None] = print,
                     allow_missing: bool = False) -> dict[str, int]:
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
    listed = Counts(report)
    listed.add('VOC2012 trainaug', len(train | extra), VOC12AUG_IMAGES)
    listed.add('VOC2012 val', len(val), VOC12_VAL_IMAGES)
    listed.require_all(allow_missing)
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
    counts = Counts(report)
    for split, folder, names, official in (
            ('trainaug', masks, train | extra, VOC12AUG_IMAGES),
            ('val', Path(root, 'SegmentationClass'), val, VOC12_VAL_IMAGES)):
        pairs = [(Path(root, 'JPEGImages', f'{name}.jpg'), folder / f'{name}.png') for name in sorted(names)]
        checked = check_segmentation(pairs, 21, split)
        counts.add(f'VOC2012 {split}', checked['images'], official, checked['objects'])
    return counts.found


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
