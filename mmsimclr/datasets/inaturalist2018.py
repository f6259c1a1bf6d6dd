"""iNaturalist 2018 from its official annotations."""

from pathlib import Path

from mmsimclr.datasets.annotations import MAX_ANNOTATION_BYTES
from mmsimclr.datasets.base import FileDataset, check_split
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import read_json
from mmsimclr.registry import DATASETS

URL = 'https://github.com/visipedia/inat_comp/tree/master/2018'
NUM_CLASSES = 8142


@DATASETS.register_module()
class INaturalist2018(FileDataset):
    """The 437,513 images of training or the 24,426 of validation, of 8,142 species.

    The layout is the official one: ``train2018.json`` and ``val2018.json`` in ``data_root``, and the images
    where these say, ``train_val2018/Aves/2761/....jpg``. Classes are numbered as in the annotations. An item
    is ``dict(img_path=str, gt_label=int, sample_idx)``.

    Args:
        data_root: Folder of the annotations and the images.
        split: ``'train'`` or ``'val'``.
        **kwargs: Further arguments of :class:`~mmsimclr.datasets.base.FileDataset`.
    """

    METAINFO = {'classes': tuple(str(number) for number in range(NUM_CLASSES))}

    def __init__(self, data_root: str = 'data/inaturalist2018', split: str = 'train', **kwargs) -> None:
        self.split = check_split(split, ('train', 'val'))
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        path = root / f'{self.split}2018.json'
        if not path.is_file():
            raise MissingFileError(f'no {path}: fetch images and annotations of iNaturalist 2018 from {URL} '
                                   f'and unpack both into {root}')
        content = read_json(path, 'an annotation file of iNaturalist 2018', MAX_ANNOTATION_BYTES)
        try:
            labels = {entry['image_id']: entry['category_id'] for entry in content['annotations']}
            items = [dict(img_path=str(root / image['file_name']), gt_label=labels[image['id']])
                     for image in content['images']]
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f'{path} is no annotation file of iNaturalist 2018: it lacks {error}') from error
        num_classes = len(self.metainfo['classes'])
        strange = [item['gt_label'] for item in items
                   if type(item['gt_label']) is not int or not 0 <= item['gt_label'] < num_classes]
        if strange:
            raise InputError(f'{path} has the class {strange[0]!r:.80}, and classes must be from 0 to '
                             f'{num_classes - 1}: is it of another year?')
        return items
