"""Birdsnap in the layout of its release."""

import re
from pathlib import Path

from mmsimclr.datasets.base import FileDataset, check_split
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import read_csv
from mmsimclr.registry import DATASETS

NUMBER = re.compile(r'[0-9]{1,9}')
LISTS = ('species.txt', 'images.txt', 'test_images.txt')
WHERE = ('Birdsnap 1.1 is http://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz; it has '
         f'{", ".join(LISTS)} and get_birdsnap.py, which fetches the images into download/images')


@DATASETS.register_module()
class Birdsnap(FileDataset):
    """Birds of 500 species, as far as their images can still be fetched.

    The release lists the images' addresses, and some no longer answer. Images that are not there are left
    out with a warning. Results on the rest compare with each other, but not quite with published ones. An
    item is ``dict(img_path=str, gt_label=int, sample_idx)``.

    Args:
        data_root: Folder of the lists, with the images in ``images/`` or ``download/images/``.
        split: ``'test'``, the images of ``test_images.txt`` (2,443), or ``'train'``, the others (47,386).
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.

    Source:
        Berg et al. 2014, Birdsnap: Large-scale Fine-grained Visual Categorization of Birds.
    """

    def __init__(self, data_root: str = 'data/birdsnap', split: str = 'train', **kwargs) -> None:
        self.split = check_split(split, ('train', 'test'))
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        absent = [name for name in LISTS if not (root / name).is_file()]
        if absent:
            raise MissingFileError(f'no {", ".join(absent)} in {root.absolute()}. {WHERE}')
        species = _columns(root / 'species.txt', 'id', 'common')
        if not all(NUMBER.fullmatch(number) for number, _ in species):
            raise InputError(f'{root / "species.txt"} must have a number as id of each species. {WHERE}')
        species.sort(key=lambda row: int(row[0]))
        labels = {number: label for label, (number, _) in enumerate(species)}
        self._metainfo.setdefault('classes', tuple(name for _, name in species))
        test = {path for path, in _columns(root / 'test_images.txt', 'path')}
        images = _columns(root / 'images.txt', 'path', 'species_id')
        unknown = [number for _, number in images if number not in labels]
        if unknown:
            raise InputError(f'{root / "images.txt"} has the species {unknown[0]!r:.80}, which is not in '
                             f'species.txt. {WHERE}')
        folders = root / 'images', root / 'download' / 'images'
        folder = next(filter(Path.is_dir, folders), folders[0])
        return self.keep_present([dict(img_path=str(folder / path), gt_label=labels[number])
                                  for path, number in images if (path in test) == (self.split == 'test')],
                                 WHERE)


def _columns(path: Path, *names: str) -> list[tuple[str, ...]]:
    rows = read_csv(path, f'a table separated by tabs. {WHERE}', names, delimiter='\t')
    return [tuple(row[name] for name in names) for row in rows]
