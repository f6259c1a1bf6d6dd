"""PASCAL VOC images, each labelled with all classes that it shows."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmsimclr.datasets.base import FileDataset, check_split
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import read_text, read_xml
from mmsimclr.registry import DATASETS

CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
           'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train',
           'tvmonitor')
SPLITS = ('train', 'val', 'trainval', 'test')
# In the lists, -1 is absent and 0 is present but difficult.
_LABEL_OF_FLAG = {'1': 1, '-1': 0, '0': -1}
WHERE = ('VOC2007 is VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar of '
         'http://host.robots.ox.ac.uk/pascal/VOC/voc2007/ (the second has the test annotations); unpack both '
         'in one folder and name its VOCdevkit/VOC2007, which has JPEGImages/, Annotations/ and '
         'ImageSets/Main/')


@DATASETS.register_module()
class VOCMultiLabel(FileDataset):
    """A split of a PASCAL VOC devkit, each image labelled with all of the classes.

    An item is ``dict(img_path=str, gt_label=list of 20, sample_idx)``. The label of a class is 1 if an object
    of it is present, 0 if none is, and -1 (does not count) if all that are present are marked as difficult.

    Args:
        data_root: Folder of one year of the devkit, such as ``VOCdevkit/VOC2007``.
        split: 'train', 'val', 'trainval' or 'test'.
        labels: Source of the classes: 'annotations', the XML files of the objects; or 'image_sets', the
            lists ``ImageSets/Main/<class>_<split>.txt``. In an official devkit they agree.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    METAINFO = {'classes': CLASSES}

    def __init__(self, data_root: str = 'data/VOCdevkit/VOC2007', split: str = 'trainval',
                 labels: str = 'annotations', **kwargs) -> None:
        if labels not in ('annotations', 'image_sets'):
            raise InputError(f'labels must be one of annotations, image_sets, got {labels!r}')
        self.split, self.label_source = check_split(split, SPLITS), labels
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        if not os.path.isdir(self.data_root):
            raise MissingFileError(f'no VOC devkit at {os.path.abspath(self.data_root)}. {WHERE}')
        names = [line.split()[0] for line in self._lines(self.split)]
        paths = self._files('JPEGImages', names, 'jpg')
        if self.label_source == 'annotations':
            labels = [self._label_of_annotation(path) for path in self._files('Annotations', names, 'xml')]
        else:
            labels = zip(*(self._column_of_list(cls, names) for cls in self.metainfo['classes']), strict=True)
        return [dict(img_path=path, gt_label=list(label)) for path, label in zip(paths, labels, strict=True)]

    def _lines(self, name: str) -> list[str]:
        """Return the lines of a list, of which there is at least one."""
        path = Path(self.data_root, 'ImageSets', 'Main', f'{name}.txt')
        if not path.is_file():
            raise MissingFileError(f'no list {path}. {WHERE}')
        lines = [line for line in read_text(path, 'a list of images').splitlines() if line.strip()]
        if not lines:
            raise InputError(f'{path} lists no images. {WHERE}')
        return lines

    def _files(self, folder: str, names: Sequence[str], extension: str) -> list[str]:
        """Return the paths of a file for each image; all of them are there."""
        paths = [os.path.join(self.data_root, folder, f'{name}.{extension}') for name in names]
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise MissingFileError(f'{len(missing)} of the {len(paths)} files of the {self.split} split in '
                                   f'{folder} are missing, among them {missing[0]}. {WHERE}')
        return paths

    def _label_of_annotation(self, path: str) -> list[int]:
        classes = self.metainfo['classes']
        label = [0] * len(classes)
        try:
            for entry in read_xml(path, 'a VOC annotation').findall('object'):
                place = classes.index(entry.findtext('name', '').strip())
                is_difficult = int(entry.findtext('difficult', '0'))
                label[place] = 1 if label[place] == 1 or not is_difficult else -1
        except ValueError as error:
            raise InputError(f'{path} is not an annotation with the classes {", ".join(classes)}: '
                             f'{error}') from error
        return label

    def _column_of_list(self, cls: str, names: Sequence[str]) -> list[int]:
        name = f'{cls}_{self.split}'
        rows = [line.split() for line in self._lines(name)]
        if not all(len(row) == 2 and row[1] in _LABEL_OF_FLAG for row in rows):
            raise InputError(f'ImageSets/Main/{name}.txt must have an image and 1, -1 or 0 on each line')
        flags = {image: _LABEL_OF_FLAG[flag] for image, flag in rows}
        absent = [image for image in names if image not in flags]
        if absent:
            raise InputError(f'ImageSets/Main/{name}.txt does not list {len(absent)} images of the split, '
                             f'among them {absent[0]}')
        return [flags[image] for image in names]
