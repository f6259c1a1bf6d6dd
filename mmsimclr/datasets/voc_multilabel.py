"""The images of a PASCAL VOC devkit with the classes that are in each."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.registry import DATASETS

CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
           'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train',
           'tvmonitor')
SPLITS = ('train', 'val', 'trainval', 'test')
LABEL_SOURCES = ('annotations', 'image_sets')
# In the lists, -1 is absent and 0 is present but difficult.
_LABEL_OF_FLAG = {'1': 1, '-1': 0, '0': -1}
WHERE = ('VOC2007 is VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar of '
         'http://host.robots.ox.ac.uk/pascal/VOC/voc2007/ (the second has the test annotations); unpack both '
         'in one folder and name its VOCdevkit/VOC2007, which has JPEGImages/, Annotations/ and '
         'ImageSets/Main/')


@DATASETS.register_module()
class VOCMultiLabel(BaseDataset):
    """A split of a PASCAL VOC devkit, each image labelled with all of the classes.

    An item is ``dict(img_path=str, gt_label=list of 20, sample_idx)``; the label of a class is 1 where an
    object of it is present, 0 where none is, and -1 where all that are present are marked as difficult, so
    that the image does not count for the class.

    Args:
        data_root: Folder of one year of the devkit, such as ``VOCdevkit/VOC2007``.
        split: 'train', 'val', 'trainval' or 'test'.
        labels: Where the classes are read: 'annotations', the XML files of the objects; or 'image_sets',
            the lists ``ImageSets/Main/<class>_<split>.txt``. In an official devkit they agree.
        pipeline: Transforms of an item.
        metainfo: Entries to add to or to replace in ``METAINFO``.
        indices: Keep the first (int) or these (sequence) images only.
        test_mode: As in MMEngine's ``BaseDataset``.
        lazy_init: Read nothing before the first use.

    Raises:
        ValueError: If an argument is unknown, a list is empty or malformed, or an annotation is.
        FileNotFoundError: If a part of the devkit is missing; the message says from where to get it.
    """

    METAINFO = {'classes': CLASSES}

    def __init__(self,
                 data_root: str = 'data/VOCdevkit/VOC2007',
                 split: str = 'trainval',
                 labels: str = 'annotations',
                 pipeline: Sequence[dict | Callable] = (),
                 metainfo: Mapping | None = None,
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        if split not in SPLITS:
            raise InputError(f'split must be one of {", ".join(SPLITS)}, got {split!r}')
        if labels not in LABEL_SOURCES:
            raise InputError(f'labels must be one of {", ".join(LABEL_SOURCES)}, got {labels!r}')
        self.split, self.label_source = split, labels
        super().__init__(metainfo=metainfo, data_root=str(data_root), indices=indices,
                         pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def load_data_list(self) -> list[dict]:
        """List the images and their classes, once the devkit is known to be whole."""
        root = Path(self.data_root)
        if not root.is_dir():
            raise MissingFileError(f'no VOC devkit at {root.absolute()}. {WHERE}')
        names = [line.split()[0] for line in self._list_lines(self.split)]
        paths = [os.path.join(self.data_root, 'JPEGImages', f'{name}.jpg') for name in names]
        self._check_files(paths, 'images')
        labels = self._labels_of_lists(names) if self.label_source == 'image_sets' \
            else self._labels_of_annotations(names)
        return [dict(img_path=path, gt_label=label) for path, label in zip(paths, labels, strict=True)]

    def _list_lines(self, name: str) -> list[str]:
        path = Path(self.data_root, 'ImageSets', 'Main', f'{name}.txt')
        if not path.is_file():
            raise MissingFileError(f'no list {path}. {WHERE}')
        lines = [line for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
        if not lines:
            raise InputError(f'{path} lists no images. {WHERE}')
        return lines

    def _check_files(self, paths: Sequence[str], what: str) -> None:
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise MissingFileError(f'{len(missing)} of the {len(paths)} {what} of the {self.split} split '
                                   f'are missing, among them {missing[0]}. {WHERE}')

    def _labels_of_annotations(self, names: Sequence[str]) -> list[list[int]]:
        paths = [os.path.join(self.data_root, 'Annotations', f'{name}.xml') for name in names]
        self._check_files(paths, 'annotations')
        return [self._label_of_annotation(path) for path in paths]

    def _label_of_annotation(self, path: str) -> list[int]:
        label = [0] * len(self.metainfo['classes'])
        try:
            # As in annotation_files.
            objects = ElementTree.parse(path).findall('object')      # nosec B314
            for entry in objects:
                place = self.metainfo['classes'].index(entry.findtext('name', '').strip())
                is_difficult = int(entry.findtext('difficult', '0'))
                label[place] = 1 if label[place] == 1 or not is_difficult else -1
        except (ElementTree.ParseError, ValueError) as error:
            raise InputError(f'{path} is not an annotation with the classes '
                             f'{", ".join(self.metainfo["classes"])}: {error}') from error
        return label

    def _labels_of_lists(self, names: Sequence[str]) -> list[list[int]]:
        columns = []
        for cls in self.metainfo['classes']:
            rows = [line.split() for line in self._list_lines(f'{cls}_{self.split}')]
            if not all(len(row) == 2 and row[1] in _LABEL_OF_FLAG for row in rows):
                raise InputError(f'ImageSets/Main/{cls}_{self.split}.txt must have an image and 1, -1 or 0 '
                                 'on each line')
            flags = {name: _LABEL_OF_FLAG[flag] for name, flag in rows}
            absent = [name for name in names if name not in flags]
            if absent:
                raise InputError(f'ImageSets/Main/{cls}_{self.split}.txt does not list {len(absent)} images '
                                 f'of the split, among them {absent[0]}')
            columns.append([flags[name] for name in names])
        return [list(row) for row in zip(*columns, strict=True)]

