"""Images with identities and cameras, for retrieval."""

import os
import re
from pathlib import Path

from mmsimclr.datasets.base import FileDataset
from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
from mmsimclr.errors import InputError
from mmsimclr.files import read_csv
from mmsimclr.registry import DATASETS


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
