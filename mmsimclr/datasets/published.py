"""Published datasets in the layouts of their releases, and images with identities, as of Market-1501."""

import logging
import os
import re
from pathlib import Path, PurePosixPath

import numpy as np
from mmengine.logging import print_log

from mmsimclr.datasets.annotations import MAX_ANNOTATION_BYTES, require_files
from mmsimclr.datasets.base import FileDataset
from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
from mmsimclr.errors import InputError, MissingFileError, check_choice, check_int
from mmsimclr.files import read_csv, read_json, read_text, read_xml
from mmsimclr.registry import DATASETS

VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
               'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train',
               'tvmonitor')
# By the name that a config gives its dataset: how many images the release has. Places205 counts its own.
OFFICIAL_IMAGES = {
    'ImageNet-1k': dict(train=1_281_167, test=50_000), 'iNaturalist 2018': dict(train=437_513, test=24_426),
    'VOC2007': dict(train=5_011, test=4_952), 'VOC2007+2012': dict(train=5_011 + 11_540, test=4_952),
    'COCO': dict(train=118_287, test=5_000), 'Cityscapes': dict(train=2_975, test=500),
    'VOC2012 augmented': dict(train=10_582, test=1_449)}
PLACES205_SITE = 'http://places.csail.mit.edu/downloadData.html'
PLACES205_LIST, PLACES205_IMAGES = 'trainvalsplit_places205/{split}_places205.csv', 'images256'
# The list of the 2,448,873 training images has about 100 MB.
MAX_LIST_BYTES = 1_000_000_000


class PublishedDataset(FileDataset):
    """Base of the datasets here. An item is ``dict(img_path=str, gt_label=int, sample_idx)``.

    Args:
        data_root: Folder of the release's files.
        split: One of ``SPLITS``, by default the first.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    SPLITS: tuple[str, ...] = ('train', 'test')
    WHERE = ''                                              # to get the files, and how to lay them out
    num_missing = 0                                         # images that are left out

    def __init__(self, data_root: str, split: str | None = None, **kwargs) -> None:
        self.split = check_choice(split or self.SPLITS[0], 'split', self.SPLITS)
        super().__init__(data_root, **kwargs)

    def place(self, *parts: str) -> Path:
        """Return the path of a file or a folder of the release, which must be there."""
        path = Path(self.data_root, *parts)
        if not path.exists():
            raise MissingFileError(f'no {path.absolute()}. {self.WHERE}')
        return path

    def keep_present(self, items: list[dict]) -> list[dict]:
        """Return the items whose images are there, the others counted in a warning; at least one must be."""
        present = [item for item in items if os.path.isfile(item['img_path'])]
        if not present:
            raise MissingFileError(f'none of the {len(items)} images of the {self.split} split is below '
                                   f'{self.data_root}. {self.WHERE}')
        self.num_missing = len(items) - len(present)
        if self.num_missing:
            print_log(f'{type(self).__name__}, {self.split}: {self.num_missing} of {len(items)} images are '
                      'not there and are left out', 'current', logging.WARNING)
        return present


@DATASETS.register_module()
class Birdsnap(PublishedDataset):
    """Birds of 500 species, as far as their images can still be fetched.

    The release lists the images' addresses, and some no longer answer. Images that are not there are left
    out with a warning. Results on the rest compare with each other, but not quite with published ones. The
    images are in ``images/`` or ``download/images/``; ``'test'`` are those of ``test_images.txt`` (2,443),
    ``'train'`` the others (47,386).

    Source:
        Berg et al. 2014, Birdsnap: Large-scale Fine-grained Visual Categorization of Birds.
    """

    WHERE = ('Birdsnap 1.1 is http://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz; it has species.txt, '
             'images.txt, test_images.txt and get_birdsnap.py, which fetches the images into download/images')

    def load_data_list(self) -> list[dict]:
        species = self._columns('species.txt', 'id', 'common')
        if not all(re.fullmatch('[0-9]{1,9}', number) for number, _ in species):
            raise InputError(f'{self.place("species.txt")} must have a number as id of each species. '
                             f'{self.WHERE}')
        species.sort(key=lambda row: int(row[0]))
        labels = {number: label for label, (number, _) in enumerate(species)}
        self._metainfo.setdefault('classes', tuple(name for _, name in species))
        test = {path for path, in self._columns('test_images.txt', 'path')}
        images = self._columns('images.txt', 'path', 'species_id')
        if unknown := [number for _, number in images if number not in labels]:
            raise InputError(f'{self.place("images.txt")} has the species {unknown[0]!r:.80}, which is not '
                             f'in species.txt. {self.WHERE}')
        folders = [Path(self.data_root, *parts) for parts in (('images',), ('download', 'images'))]
        folder = next(filter(Path.is_dir, folders), folders[0])
        return self.keep_present([dict(img_path=str(folder / path), gt_label=labels[number])
                                  for path, number in images if (path in test) == (self.split == 'test')])

    def _columns(self, name: str, *columns: str) -> list[tuple[str, ...]]:
        rows = read_csv(self.place(name), f'a table separated by tabs. {self.WHERE}', columns, delimiter='\t')
        return [tuple(row[column] for column in columns) for row in rows]


@DATASETS.register_module()
class Caltech101(PublishedDataset):
    """The 102 folders of Caltech-101, the background's among them.

    There is no official split. A seed draws the same number of training images from each class; all others
    are for the test.

    Args:
        data_root, split, kwargs: See :class:`PublishedDataset`.
        num_train: Training images of each class, >= 1; each class must have more.
        seed: Seed of the split.
    """

    WHERE = ('Caltech-101 is caltech-101.zip of https://data.caltech.edu/records/mzrjq-6wc02; unpack it, and '
             'the 101_ObjectCategories.tar.gz in it, so that data_root holds '
             '101_ObjectCategories/<class>/*.jpg')

    def __init__(self, data_root: str, split: str = 'train', num_train: int = 30, seed: int = 0,
                 **kwargs) -> None:
        self.num_train, self.seed = check_int(num_train, 'num_train'), seed
        super().__init__(data_root, split, **kwargs)

    def load_data_list(self) -> list[dict]:
        root, by_class = self.place('101_ObjectCategories'), {}
        for path in map(os.fsdecode, find_images(root, DEFAULT_EXTENSIONS)):
            by_class.setdefault(path.split(os.sep)[0], []).append(path)
        self._metainfo.setdefault('classes', tuple(by_class))
        items, generator = [], np.random.default_rng(self.seed)
        for label, (name, paths) in enumerate(by_class.items()):
            if len(paths) <= self.num_train:
                raise InputError(f'class {name} has {len(paths)} images; {self.num_train} are to train on '
                                 f'and at least one to test. {self.WHERE}')
            order = generator.permutation(len(paths))
            chosen = order[:self.num_train] if self.split == 'train' else order[self.num_train:]
            items += [dict(img_path=str(root / paths[place]), gt_label=label) for place in sorted(chosen)]
        return items


@DATASETS.register_module()
class INaturalist2018(PublishedDataset):
    """The 437,513 images of training or the 24,426 of validation, of 8,142 species.

    The layout is the official one: ``train2018.json`` and ``val2018.json`` in ``data_root``, and the images
    where these say, ``train_val2018/Aves/2761/....jpg``. Classes are numbered as in the annotations.
    """

    METAINFO = {'classes': tuple(map(str, range(8142)))}
    SPLITS = ('train', 'val')
    WHERE = ('Fetch images and annotations of iNaturalist 2018 from '
             'https://github.com/visipedia/inat_comp/tree/master/2018 and unpack both into data_root')

    def load_data_list(self) -> list[dict]:
        path, num_classes = self.place(f'{self.split}2018.json'), len(self.metainfo['classes'])
        content = read_json(path, 'an annotation file of iNaturalist 2018', MAX_ANNOTATION_BYTES)
        try:
            labels = {entry['image_id']: entry['category_id'] for entry in content['annotations']}
            items = [dict(img_path=str(path.parent / image['file_name']), gt_label=labels[image['id']])
                     for image in content['images']]
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f'{path} is no annotation file of iNaturalist 2018: it lacks {error}') from error
        if strange := [item['gt_label'] for item in items
                       if type(item['gt_label']) is not int or not 0 <= item['gt_label'] < num_classes]:
            raise InputError(f'{path} has the class {strange[0]!r:.80}, and classes must be from 0 to '
                             f'{num_classes - 1}: is it of another year?')
        return items


@DATASETS.register_module()
class Places205(PublishedDataset):
    """The 2,448,873 images of training or the 20,500 of validation, of 205 scenes.

    The layout is that of the published archives: ``trainvalsplit_places205/{train,val}_places205.csv``, and
    the images that these list below ``images256/``. ``mmsimclr prepare places205`` checks that
    all of them are there.

    Args:
        data_root, split, kwargs: See :class:`PublishedDataset`.
        allow_missing: Leave out images that are not there, with a warning; by default nobody looks for them
            before they are read.

    Source:
        Zhou et al. 2014, Learning Deep Features for Scene Recognition using Places Database.
    """

    METAINFO = {'classes': tuple(map(str, range(205)))}
    SPLITS = ('train', 'val')
    WHERE = f'They are images256.tar of {PLACES205_SITE}'

    def __init__(self, data_root: str, split: str = 'train', allow_missing: bool = False, **kwargs) -> None:
        self.allow_missing = allow_missing
        super().__init__(data_root, split, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        listed = read_places205_list(root / PLACES205_LIST.format(split=self.split))
        items = [dict(img_path=str(root / PLACES205_IMAGES / path), gt_label=label) for path, label in listed]
        return self.keep_present(items) if self.allow_missing else items


def read_places205_list(path: Path) -> list[tuple[str, int]]:
    """Return path and class of each image of a published list, lines such as ``a/abbey/gsun_0.jpg,0``."""
    if not path.is_file():
        raise MissingFileError(f'no {path}: it is in trainvalsplit_places205.tar.gz of {PLACES205_SITE}')
    rows = [line.rsplit(',', 1) for line in read_text(path, 'a list', MAX_LIST_BYTES).splitlines()]
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not row[0] or not re.fullmatch('[0-9]{1,3}', row[1]) or int(row[1]) >= 205:
            raise InputError(f'{path}, line {number}: must be a path and a class from 0 to 204, got '
                             f'{",".join(row)!r:.80}')
        if '..' in PurePosixPath(row[0]).parts or row[0].startswith('/') or not row[0].isprintable():
            raise InputError(f'{path}, line {number}: {row[0]!r:.80} is no path below {PLACES205_IMAGES}')
    if not rows or len({name for name, _ in rows}) != len(rows):
        raise InputError(f'{path} lists no images, or some of them more than once')
    return [(name, int(label)) for name, label in rows]


@DATASETS.register_module()
class VOCMultiLabel(PublishedDataset):
    """A split of a PASCAL VOC devkit, each image labelled with all of the classes.

    ``data_root`` is the folder of one year, such as ``VOCdevkit/VOC2007``. ``gt_label`` is a list of 20: for
    a class 1 if an object of it is present, 0 if none is, and -1 (does not count) if all that are present are
    marked as difficult.
    """

    METAINFO = {'classes': VOC_CLASSES}
    SPLITS = ('trainval', 'train', 'val', 'test')
    WHERE = ('VOC2007 is VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar of '
             'http://host.robots.ox.ac.uk/pascal/VOC/voc2007/ (the second has the test annotations); unpack '
             'both in one folder and name its VOCdevkit/VOC2007, which has JPEGImages/, Annotations/ and '
             'ImageSets/Main/')

    def load_data_list(self) -> list[dict]:
        path = self.place('ImageSets', 'Main', f'{self.split}.txt')
        names = [line.split()[0] for line in read_text(path, 'a list of images').splitlines() if line.strip()]
        if not names:
            raise InputError(f'{path} lists no images. {self.WHERE}')
        images = [os.path.join(self.data_root, 'JPEGImages', f'{name}.jpg') for name in names]
        annotations = [os.path.join(self.data_root, 'Annotations', f'{name}.xml') for name in names]
        for paths in (images, annotations):
            require_files(paths, f'files of the {self.split} split', self.WHERE)
        return [dict(img_path=image, gt_label=self._label(annotation))
                for image, annotation in zip(images, annotations, strict=True)]

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


@DATASETS.register_module()
class IdentityImages(FileDataset):
    """Images of a folder, whose names tell identity and camera, or of a CSV.

    An item is ``dict(img_path, identity, camera, sample_idx)``; identity and camera are texts, '' if unknown.

    Args:
        data_root: Folder of the data.
        source: A folder in it; or a CSV in it with the columns ``image``, a path below ``data_root``,
            ``identity`` and perhaps ``camera``.
        pattern: Regular expression with the groups ``identity`` and perhaps ``camera``, searched in the path
            below ``source``. The default reads the names of Market-1501 and SYSU-30k.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    def __init__(self, data_root: str, source: str, pattern: str = r'(?P<identity>-?\w+?)_c(?P<camera>\d+)',
                 **kwargs) -> None:
        self.source, self.pattern = source, re.compile(pattern)
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        place = Path(self.data_root, self.source)
        if place.suffix == '.csv':
            rows = read_csv(place, 'a CSV of image, identity and camera', ('image', 'identity'))
        else:
            paths = map(os.fsdecode, find_images(place, DEFAULT_EXTENSIONS))
            rows = [dict(found.groupdict() if (found := self.pattern.search(path)) else {},
                         image=os.path.join(self.source, path)) for path in paths]
        items = []
        for row in rows:
            if not row.get('image') or not row.get('identity'):
                raise InputError(f'{self.source} must tell image and identity of all, by columns of a CSV or '
                                 f'by the pattern {self.pattern.pattern!r}; of one it tells {row}')
            items.append(dict(img_path=os.path.join(self.data_root, row['image']), identity=row['identity'],
                              camera=row.get('camera') or ''))
        return items
