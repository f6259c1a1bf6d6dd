"""Images with identities and cameras, for retrieval."""

import csv
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mmsimclr.datasets.base import FileDataset
from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
from mmsimclr.errors import InputError
from mmsimclr.files import read_text
from mmsimclr.registry import DATASETS


@DATASETS.register_module()
class IdentityImages(FileDataset):
    """Images of a folder, whose names tell identity and camera, or of a CSV.

    An item is ``dict(img_path, identity, camera, sample_idx)``; identity and camera are texts.

    Args:
        data_root: Folder of the data.
        source: A folder in it, of any depth; or a CSV in it with the columns ``image``, a path below
            ``data_root``, ``identity`` and, where cameras are known, ``camera``.
        pattern: Regular expression with the groups ``identity`` and, where cameras are known, ``camera``. It
            is searched in the path below ``source``. The default reads Market-1501's
            ``0002_c1s1_000451_03.jpg`` and SYSU-30k's ``000028311/000028311_c1_1.jpg``. For folders that are
            identities take ``(?P<identity>[^/]+)/``.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        InputError: If a name does not fit the pattern, or a line of the CSV lacks a column.
    """

    def __init__(self, data_root: str, source: str, pattern: str = r'(?P<identity>-?\w+?)_c(?P<camera>\d+)',
                 **kwargs) -> None:
        self.source, self.pattern = source, re.compile(pattern)
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        rows = self._of_csv() if self.source.endswith('.csv') else self._of_folder()
        return [dict(img_path=os.path.join(self.data_root, path), identity=identity, camera=camera or '')
                for path, identity, camera in rows]

    def _of_folder(self) -> Iterable[tuple[str, str, str | None]]:
        for path in map(os.fsdecode, find_images(Path(self.data_root, self.source), DEFAULT_EXTENSIONS)):
            found = self.pattern.search(path)
            if not found:
                raise InputError(f'pattern {self.pattern.pattern!r} does not fit {path} in {self.source}: it '
                                 'must tell the identity of every image (see IdentityImages)')
            yield os.path.join(self.source, path), found['identity'], found.groupdict().get('camera')

    def _of_csv(self) -> Iterable[tuple[str, str, str | None]]:
        text = read_text(Path(self.data_root, self.source), 'a CSV of image, identity and camera')
        for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
            if not row.get('image') or not row.get('identity'):
                raise InputError(f'{self.source}, line {number}: it must have image and identity, got {row}')
            yield row['image'], row['identity'], row.get('camera')
