"""Places205 from its published lists."""

import re
from pathlib import Path, PurePosixPath

from mmsimclr.datasets.base import FileDataset, check_split
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import read_text
from mmsimclr.registry import DATASETS

SITE = 'http://places.csail.mit.edu/downloadData.html'
LIST, IMAGES = 'trainvalsplit_places205/{split}_places205.csv', 'images256'
NUM_CLASSES = 205
# The list of the 2,448,873 training images has about 100 MB.
MAX_LIST_BYTES = 1_000_000_000
_LABEL = re.compile('[0-9]{1,3}')


@DATASETS.register_module()
class Places205(FileDataset):
    """The 2,448,873 images of training or the 20,500 of validation, of 205 scenes.

    The layout is that of the published archives: ``trainvalsplit_places205/{train,val}_places205.csv``, and
    the images that these list below ``images256/``. An item is ``dict(img_path=str, gt_label=int,
    sample_idx)``. ``python tools/prepare_data/places205.py`` checks that all of them are there.

    Args:
        data_root: Folder of the lists and the images.
        split: ``'train'`` or ``'val'``.
        allow_missing: Leave out images that are not there, with a warning; by default nobody looks for them
            before they are read.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.

    Source:
        Zhou et al. 2014, Learning Deep Features for Scene Recognition using Places Database.
    """

    METAINFO = {'classes': tuple(str(number) for number in range(NUM_CLASSES))}

    def __init__(self, data_root: str = 'data/places205', split: str = 'train', allow_missing: bool = False,
                 **kwargs) -> None:
        self.split, self.allow_missing = check_split(split, ('train', 'val')), allow_missing
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        listed = read_places205_list(root / LIST.format(split=self.split))
        items = [dict(img_path=str(root / IMAGES / path), gt_label=label) for path, label in listed]
        self.num_listed, self.num_missing = len(items), 0
        where = f'They are images256.tar of {SITE}'
        return self.keep_present(items, where) if self.allow_missing else items


def read_places205_list(path: Path) -> list[tuple[str, int]]:
    """Return path and class of each image of a published list, lines such as ``a/abbey/gsun_0.jpg,0``."""
    if not path.is_file():
        raise MissingFileError(f'no {path}: it is in trainvalsplit_places205.tar.gz of {SITE}')
    rows = [line.rsplit(',', 1) for line in read_text(path, 'a list', MAX_LIST_BYTES).splitlines()]
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not row[0] or not _LABEL.fullmatch(row[1]) or int(row[1]) >= NUM_CLASSES:
            raise InputError(f'{path}, line {number}: must be a path and a class from 0 to '
                             f'{NUM_CLASSES - 1}, got {",".join(row)!r:.80}')
        if '..' in PurePosixPath(row[0]).parts or row[0].startswith('/') or not row[0].isprintable():
            raise InputError(f'{path}, line {number}: {row[0]!r:.80} is no path below {IMAGES}')
    if not rows or len({name for name, _ in rows}) != len(rows):
        raise InputError(f'{path} lists no images, or some of them more than once')
    return [(name, int(label)) for name, label in rows]
