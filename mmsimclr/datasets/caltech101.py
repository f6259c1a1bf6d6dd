"""Caltech-101, split by a seed."""

import os
from pathlib import Path

import numpy as np

from mmsimclr.datasets.base import FileDataset, check_split
from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.registry import DATASETS

FOLDER = '101_ObjectCategories'
WHERE = ('Caltech-101 is caltech-101.zip of https://data.caltech.edu/records/mzrjq-6wc02; unpack it, and the '
         f'{FOLDER}.tar.gz in it, so that data_root holds {FOLDER}/<class>/*.jpg')


@DATASETS.register_module()
class Caltech101(FileDataset):
    """The 102 folders of Caltech-101, the background's among them.

    There is no official split. A seed draws the same number of training images from each class; all others
    are for the test. An item is ``dict(img_path=str, gt_label=int, sample_idx)``.

    Args:
        data_root: Folder that holds ``101_ObjectCategories``.
        split: ``'train'`` or ``'test'``.
        num_train: Training images of each class, >= 1; each class must have more.
        seed: Seed of the split.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    def __init__(self, data_root: str = 'data/caltech-101', split: str = 'train', num_train: int = 30,
                 seed: int = 0, **kwargs) -> None:
        if num_train < 1:
            raise InputError(f'num_train must be >= 1, got {num_train} (30 is usual)')
        self.split = check_split(split, ('train', 'test'))
        self.num_train, self.seed = num_train, seed
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root, FOLDER)
        if not root.is_dir():
            raise MissingFileError(f'no folder {root.absolute()}. {WHERE}')
        by_class: dict[str, list[str]] = {}
        for path in map(os.fsdecode, find_images(root, DEFAULT_EXTENSIONS)):
            by_class.setdefault(path.split(os.sep)[0], []).append(path)
        self._metainfo.setdefault('classes', tuple(by_class))
        items, generator = [], np.random.default_rng(self.seed)
        for label, (name, paths) in enumerate(by_class.items()):
            if len(paths) <= self.num_train:
                raise InputError(f'class {name} has {len(paths)} images; {self.num_train} are to train on '
                                 f'and at least one to test. {WHERE}')
            order = generator.permutation(len(paths))
            chosen = order[:self.num_train] if self.split == 'train' else order[self.num_train:]
            items += [dict(img_path=str(root / paths[place]), gt_label=label) for place in sorted(chosen)]
        return items
