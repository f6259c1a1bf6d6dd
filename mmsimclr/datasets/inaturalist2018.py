"""iNaturalist 2018 from its official annotations."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.registry import DATASETS

URL = 'https://github.com/visipedia/inat_comp/tree/master/2018'
NUM_CLASSES = 8142


@DATASETS.register_module()
class INaturalist2018(BaseDataset):
    """The 437,513 images of training or the 24,426 of validation, of 8,142 species.

    The layout is the official one: ``train2018.json`` and ``val2018.json`` in ``data_root``, and the images
    where these say, ``train_val2018/Aves/2761/....jpg``. Classes are numbered as the annotations number them.

    Args:
        data_root: Folder of the annotations and the images.
        split: ``'train'`` or ``'val'``.
        pipeline: Transforms applied to an item, ``dict(img_path, gt_label, sample_idx)``.
        **kwargs: Further arguments of MMEngine's ``BaseDataset``.

    Raises:
        ValueError: If split is neither, or the annotations are of something else.
        FileNotFoundError: If the annotations are not there; the message says where to get them.
    """

    METAINFO = {'classes': tuple(str(number) for number in range(NUM_CLASSES))}

    def __init__(self, data_root: str = 'data/inaturalist2018', split: str = 'train',
                 pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        if split not in ('train', 'val'):
            raise InputError(f"split must be 'train' or 'val', got {split!r}")
        self.split = split
        super().__init__(ann_file=f'{split}2018.json', data_root=str(data_root), pipeline=list(pipeline),
                         **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the annotations."""
        path = Path(self.data_root) / f'{self.split}2018.json'
        if not path.is_file():
            raise MissingFileError(f'no {path}: fetch images and annotations of iNaturalist 2018 from {URL} '
                                   f'and unpack both into {self.data_root}')
        content = json.loads(path.read_text(encoding='utf-8'))
        try:
            labels = {entry['image_id']: entry['category_id'] for entry in content['annotations']}
            root = Path(self.data_root)
            items = [dict(img_path=str(root / image['file_name']), gt_label=labels[image['id']])
                     for image in content['images']]
        except (KeyError, TypeError) as error:
            raise InputError(f'{path} is no annotation file of iNaturalist 2018: it lacks {error}') from error
        strange = {item['gt_label'] for item in items} - set(range(len(self.metainfo['classes'])))
        if strange:
            raise InputError(f'{path} has the class {min(strange)}, and classes must be from 0 to '
                             f'{len(self.metainfo["classes"]) - 1}: is it of another year?')
        return items
