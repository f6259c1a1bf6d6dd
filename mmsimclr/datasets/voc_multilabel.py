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
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    METAINFO = {'classes': CLASSES}

    def __init__(self, data_root: str = 'data/VOCdevkit/VOC2007', split: str = 'trainval', **kwargs) -> None:
        self.split = check_split(split, SPLITS)
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        if not os.path.isdir(self.data_root):
            raise MissingFileError(f'no VOC devkit at {os.path.abspath(self.data_root)}. {WHERE}')
        path = Path(self.data_root, 'ImageSets', 'Main', f'{self.split}.txt')
        if not path.is_file():
            raise MissingFileError(f'no list {path}. {WHERE}')
        lines = read_text(path, 'a list of images').splitlines()
        names = [line.split()[0] for line in lines if line.strip()]
        if not names:
            raise InputError(f'{path} lists no images. {WHERE}')
        pairs = zip(self._files('JPEGImages', names, 'jpg'), self._files('Annotations', names, 'xml'),
                    strict=True)
        return [dict(img_path=image, gt_label=self._label(annotation)) for image, annotation in pairs]

    def _files(self, folder: str, names: Sequence[str], extension: str) -> list[str]:
        """Return the paths of a file for each image; all of them are there."""
        paths = [os.path.join(self.data_root, folder, f'{name}.{extension}') for name in names]
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise MissingFileError(f'{len(missing)} of the {len(paths)} files of the {self.split} split in '
                                   f'{folder} are missing, among them {missing[0]}. {WHERE}')
        return paths

    def _label(self, path: str) -> list[int]:
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
