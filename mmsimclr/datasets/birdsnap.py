"""Birdsnap in the layout of its release."""

import csv
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.registry import DATASETS

SPLITS = ('train', 'test')
LISTS = ('species.txt', 'images.txt', 'test_images.txt')
IMAGE_FOLDERS = ('images', os.path.join('download', 'images'))
WHERE = ('Birdsnap 1.1 is http://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz; it has '
         f'{", ".join(LISTS)} and get_birdsnap.py, which fetches the images into download/images')


@DATASETS.register_module()
class Birdsnap(BaseDataset):
    """Birds of 500 species, as far as their images can still be had.

    The release lists the images' addresses; some of them no longer answer. Images that are not there are
    left out, counted in ``num_missing`` and warned of: results on what is left compare with each other, but
    not quite with those of others. An item is ``dict(img_path=str, gt_label=int, sample_idx)``.

    Args:
        data_root: Folder with ``species.txt``, ``images.txt`` and ``test_images.txt``, and with the images
            in ``images/`` or ``download/images/``.
        split: ``'test'``, the images of ``test_images.txt`` (2,443), or ``'train'``, the others (47,386).
        pipeline: Transforms of an item.
        metainfo: Entries to add to the names of the ``classes``.
        indices: Keep the first (int) or these (sequence) images only.
        test_mode: As in MMEngine's ``BaseDataset``.
        lazy_init: Read nothing before the first use.

    Attributes:
        num_listed: Number of images that the split lists.
        num_missing: Number of those that are not there.

    Raises:
        ValueError: If the split is unknown, or a list is malformed.
        FileNotFoundError: If a list is missing, or all images of the split are.

    Source:
        Berg et al. 2014, Birdsnap: Large-scale Fine-grained Visual Categorization of Birds.
    """

    def __init__(self,
                 data_root: str = 'data/birdsnap',
                 split: str = 'train',
                 pipeline: Sequence[dict | Callable] = (),
                 metainfo: Mapping | None = None,
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        if split not in SPLITS:
            raise InputError(f'split must be one of {", ".join(SPLITS)}, got {split!r}')
        self.split, self.num_listed, self.num_missing = split, 0, 0
        super().__init__(metainfo=metainfo, data_root=str(data_root), indices=indices,
                         pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def load_data_list(self) -> list[dict]:
        """List the split's images that are there."""
        root = Path(self.data_root)
        absent = [name for name in LISTS if not (root / name).is_file()]
        if absent:
            raise MissingFileError(f'no {", ".join(absent)} in {root.absolute()}. {WHERE}')
        species = sorted(_columns(root / 'species.txt', 'id', 'common'), key=lambda row: int(row[0]))
        labels = {number: label for label, (number, _) in enumerate(species)}
        self._metainfo.setdefault('classes', tuple(name for _, name in species))
        test = {path for path, in _columns(root / 'test_images.txt', 'path')}
        images = _columns(root / 'images.txt', 'path', 'species_id')
        listed = [(path, labels[number]) for path, number in images
                  if (path in test) == (self.split == 'test')]
        folders = [root / name for name in IMAGE_FOLDERS]
        folder = next(filter(Path.is_dir, folders), folders[0])
        items = [dict(img_path=str(folder / path), gt_label=label) for path, label in listed
                 if (folder / path).is_file()]
        self.num_listed, self.num_missing = len(listed), len(listed) - len(items)
        if not items:
            raise MissingFileError(f'none of the {len(listed)} images of the {self.split} split is in '
                                   f'{folder}. {WHERE}')
        if self.num_missing:
            print_log(f'Birdsnap, {self.split}: {self.num_missing} of {self.num_listed} images are not there '
                      'and are left out', 'current', logging.WARNING)
        return items


def _columns(path: Path, *names: str) -> list[tuple[str, ...]]:
    """Return columns of a table whose fields are parted by tabs and named in its first line."""
    with open(path, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file, delimiter='\t'))
    if not rows or any(row.get(name) is None for row in rows for name in names):
        raise InputError(f'{path} must be a table with the columns {", ".join(names)}, parted by tabs. '
                         f'{WHERE}')
    return [tuple(row[name] for name in names) for row in rows]
