"""Detection and segmentation data of a few small images in the layouts that the configs read."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from mmsimclr.datasets import Shapes
from mmsimclr.prepare.shapes import write_coco, write_voc


def shapes(classes=None, splits=('train', 'val', 'test'), size=64, num_images=4):
    """Return Shapes of several objects for each split, under the names of other classes if given."""
    metainfo = None if classes is None else dict(classes=tuple(classes))
    return {split: Shapes(num_images=num_images, image_size=size, split='train', seed=seed, objects='multi',
                          max_objects=3, metainfo=metainfo) for seed, split in enumerate(splits)}


def write_voc0712(root: Path, classes) -> str:
    """Write VOCdevkit/VOC2007 and VOC2012; return the devkit."""
    devkit = write_voc(shapes(classes), root / 'voc').parent
    shutil.copytree(devkit / 'VOC2007', devkit / 'VOC2012')
    return f'{devkit}/'


def write_coco2017(root: Path, classes) -> str:
    """Write train2017, val2017 and annotations; return the folder."""
    return f'{write_coco(shapes(classes, ("train", "val")), root / "coco")}/'


def write_voc12aug(root: Path, classes) -> str:
    """Write VOCdevkit/VOC2012 with SegmentationClassAug; return it."""
    base = write_voc(shapes(classes, ('train', 'val')), root / 'voc12')
    shutil.copytree(base / 'SegmentationClass', base / 'SegmentationClassAug')
    shutil.copy(base / 'ImageSets/Segmentation/train.txt', base / 'ImageSets/Segmentation/trainaug.txt')
    return str(base)


def write_camvid(root: Path) -> str:
    """Write train, trainannot, val and valannot, where 11 is of no class; return the folder."""
    for split, dataset in shapes(splits=('train', 'val')).items():
        for folder in (split, f'{split}annot'):
            (root / 'camvid' / folder).mkdir(parents=True)
        for i in range(len(dataset)):
            content = dataset.render(i)
            labels = np.where(content.seg_map == 255, 11, content.seg_map)
            labels[:8] = 11
            Image.fromarray(content.image).save(root / 'camvid' / split / f'{i}.jpg')
            Image.fromarray(labels).save(root / 'camvid' / f'{split}annot' / f'{i}.png')
    return str(root / 'camvid')


def write_cityscapes(root: Path, classes) -> str:
    """Write leftImg8bit and gtFine with labelTrainIds; return the folder."""
    for split, dataset in shapes(splits=('train', 'val')).items():
        images, masks = (root / 'cityscapes' / kind / split / 'town' for kind in ('leftImg8bit', 'gtFine'))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(len(dataset)):
            content = dataset.render(i)
            Image.fromarray(content.image).save(images / f'town_{i}_leftImg8bit.png')
            Image.fromarray(content.seg_map).save(masks / f'town_{i}_gtFine_labelTrainIds.png')
    return f'{root / "cityscapes"}/'
