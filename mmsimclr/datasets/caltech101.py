"""Caltech-101, split by a seed."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.registry import DATASETS

SPLITS = ('train', 'test')
FOLDER = '101_ObjectCategories'
WHERE = ('Caltech-101 is caltech-101.zip of https://data.caltech.edu/records/mzrjq-6wc02; unpack it, and the '
         f'{FOLDER}.tar.gz in it, so that data_root holds {FOLDER}/<class>/*.jpg')


@DATASETS.register_module()
class Caltech101(BaseDataset):
    """The 102 folders of Caltech-101, the background's among them; as many images of each to train.

    There is no official split: the training images of each class are drawn from a seed, and all others
    are for the test. An item is ``dict(img_path=str, gt_label=int, sample_idx)``.

    Args:
        data_root: Folder that holds ``101_ObjectCategories``.
        split: ``'train'`` or ``'test'``.
        num_train: Images of each class to train, >= 1.
        seed: Decides which.
        pipeline: Transforms of an item.
        metainfo: Entries to add to the names of the ``classes``.
        indices: Keep the first (int) or these (sequence) images only.
        test_mode: As in MMEngine's ``BaseDataset``.
        lazy_init: Read nothing before the first use.

    Raises:
        ValueError: If an argument is out of range, or a class has no more than ``num_train`` images.
        FileNotFoundError: If the folder is not there.
    """

    def __init__(self,
                 data_root: str = 'data/caltech-101',
                 split: str = 'train',
                 num_train: int = 30,
                 seed: int = 0,
                 pipeline: Sequence[dict | Callable] = (),
                 metainfo: Mapping | None = None,
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        if split not in SPLITS:
            raise InputError(f'split must be one of {", ".join(SPLITS)}, got {split!r}')
        if num_train < 1:
            raise InputError(f'num_train must be >= 1, got {num_train} (30 is usual)')
        self.split, self.num_train, self.seed = split, num_train, seed
        super().__init__(metainfo=metainfo, data_root=str(data_root), indices=indices,
                         pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def load_data_list(self) -> list[dict]:
        """List the split's images, class by class."""
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
