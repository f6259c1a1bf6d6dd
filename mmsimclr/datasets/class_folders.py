"""Images in folders named by their classes, split into training and validation where the folders are not."""

import hashlib
import os
from pathlib import Path

from mmsimclr.datasets.base import FileDataset
from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
from mmsimclr.errors import InputError, MissingFileError, check_choice
from mmsimclr.registry import DATASETS


@DATASETS.register_module()
class ClassFolders(FileDataset):
    """Images of ``data_root/train/CLASS/...`` and ``data_root/val/CLASS/...``, or of ``data_root/CLASS/...``.

    In the second layout a part of each class is held out for validation. Seed and path of an image decide, so
    the split is the same on every machine. ``split_rule`` says how the images were split, None where they
    came split.

    Args:
        data_root: The folder.
        split: 'train' or 'val'.
        held_out_share: Share of each class that is for validation, > 0 and < 1, rounded; at least one image
            of a class, and never all.
        split_seed: Another seed makes another split.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    def __init__(self, data_root: str, split: str, held_out_share: float = 0.2, split_seed: int = 0,
                 **kwargs) -> None:
        self.split, self.split_seed = check_choice(split, 'split', ('train', 'val')), split_seed
        if not 0 < held_out_share < 1:
            raise InputError(f'held_out_share must be > 0 and < 1, got {held_out_share}')
        self.held_out_share = held_out_share
        self.split_rule: dict | None = None
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        parts = {part for part in ('train', 'val') if (root / part).is_dir()}
        if len(parts) == 1:
            raise MissingFileError(
                f'{root.absolute()} has a folder {parts.pop()} and none for the other part: put the images '
                'into train/CLASS and val/CLASS, or all of them into CLASS, and they will be split')
        by_class: dict[str, list[str]] = {}
        base = root / self.split if parts else root
        try:
            found = find_images(base, DEFAULT_EXTENSIONS)
        except MissingFileError as error:
            raise MissingFileError(f'{error}. Labelled images lie in train/CLASS/IMAGE and val/CLASS/IMAGE, '
                                   'or in CLASS/IMAGE') from error
        for path in map(os.fsdecode, found):
            name, separator, _ = path.partition(os.sep)
            if not separator:
                raise InputError(f'{base / path} is in no class folder: images must be in '
                                 f'{base}/CLASS, or in train/CLASS and val/CLASS')
            by_class.setdefault(name, []).append(path)
        classes = sorted(by_class, key=os.fsencode)
        if len(classes) < 2:
            raise InputError(f'{base} has images of one class only, {classes[0]!r}; expected a folder for '
                             'each of several classes')
        if not parts:
            self.split_rule = dict(held_out_share=self.held_out_share, seed=self.split_seed)
            by_class = {name: self._part(paths) for name, paths in by_class.items()}
        self._metainfo.setdefault('classes', tuple(classes))
        return [dict(img_path=str(base / path), gt_label=label) for label, name in enumerate(classes)
                for path in by_class[name]]

    def _part(self, paths: list[str]) -> list[str]:
        if len(paths) < 2:
            raise InputError(f'{Path(self.data_root) / paths[0]} is the only image of its class, and a class '
                             'needs at least two to be split')
        seeded = {path: hashlib.sha256(b'%d ' % self.split_seed + os.fsencode(path)).digest()
                  for path in paths}
        count = min(max(round(self.held_out_share * len(paths)), 1), len(paths) - 1)
        held_out = set(sorted(paths, key=seeded.get)[:count])
        return [path for path in paths if (path in held_out) == (self.split == 'val')]
