"""A training set in which images that cannot be read are replaced, counted, and bounded in number."""

import errno
import logging
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmsimclr.datasets.subsets import labels_of
from mmsimclr.errors import InputError
from mmsimclr.registry import DATASETS

# A shortage of the machine, not a fault of the image at hand.
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
MAX_DRAWS = 1000


@DATASETS.register_module()
class ReplaceUnreadable(Dataset):
    """Another dataset; in the place of an image that cannot be read stands one drawn from all the others.

    Which one is drawn follows from the run's seed, the epoch and the index asked for, and from which files
    are unreadable, so it is the same whatever the number of workers and ranks, and after a resume. Its views
    are seeded anew: where the same image is asked for in its own place too, the views differ.

    ``bad_images=dict(max_fraction=...)`` at the top level of a config puts this around the training set.

    Args:
        dataset: Config of the dataset, of any kind whose pipeline raises ``OSError`` for an unreadable image,
            as :class:`~mmsimclr.transforms.LoadImage` does. An error of another kind is always raised.
        max_fraction: The largest part of the images that may turn out unreadable before that is an error
            after all, > 0 and < 1.

    Attributes:
        unreadable: Which images were found unreadable, bool [N], in memory that the workers share.

    Raises:
        ValueError: If max_fraction is out of range, or the dataset is one to test on, whose images must not
            be replaced.
    """

    def __init__(self, dataset: Mapping[str, Any] | Dataset, max_fraction: float) -> None:
        if not 0 < max_fraction < 1:
            raise InputError(f'max_fraction must be > 0 and < 1, got {max_fraction}')
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        if getattr(self.dataset, 'test_mode', False):
            raise InputError('images to test on must not be replaced: take test_mode=True out, or bad_images')
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()
        self.max_fraction = max_fraction
        self.unreadable = torch.zeros(len(self.dataset), dtype=torch.bool).share_memory_()

    @property
    def metainfo(self) -> dict:
        """The dataset's."""
        return self.dataset.metainfo

    @property
    def data_root(self) -> str:
        """The dataset's."""
        return getattr(self.dataset, 'data_root', '')

    def __len__(self) -> int:
        """Return the number of images, the unreadable ones among them."""
        return len(self.dataset)

    def get_data_info(self, index: int) -> dict:
        """Return item ``index`` before the pipeline, readable or not."""
        return self.dataset.get_data_info(index)

    def get_gt_labels(self) -> np.ndarray:
        """Return the class of every image, int64 [N]."""
        return labels_of(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return image ``index`` after the pipeline, or the one in its place.

        Raises:
            RuntimeError: If more images than ``max_fraction`` are unreadable.
        """
        asked, draws = index, None
        for _ in range(MAX_DRAWS):
            if not self.unreadable[int(asked)]:
                try:
                    return self.dataset[asked]
                except OSError as error:
                    if error.errno in SHORTAGES:
                        raise
                    self._note(int(asked), error)
            seed, epoch = getattr(index, 'seed', 0), getattr(index, 'epoch', 0)
            draws = draws or random.Random(f'{seed} {epoch} {int(index)}')      # leaves the views' own alone
            asked = _index_like(index, draws.randrange(len(self)), draws.getrandbits(62))
        raise RuntimeError(f'{MAX_DRAWS} images drawn in the place of image {int(index)} are all unreadable')

    def check(self) -> None:
        """Raise RuntimeError if more images than ``max_fraction`` were found unreadable."""
        count, allowed = int(self.unreadable.sum()), int(self.max_fraction * len(self))
        if count > allowed:
            raise RuntimeError(
                f'{count} of {len(self)} training images cannot be read, and bad_images.max_fraction='
                f'{self.max_fraction:g} allows {allowed}: the log names them; replace the files, or allow '
                'more')

    def _note(self, place: int, error: OSError) -> None:
        self.unreadable[place] = True
        name = str(self.dataset.get_data_info(place).get('img_path') or f'number {place}')
        reason = str(error) if name in str(error) else f'cannot read image {name}: {error}'
        print_log(f'{reason}; another image is taken in its place', logger='current', level=logging.WARNING)
        self.check()


def _index_like(index: int, place: int, seed: int) -> int:
    """Return a place as an index of the same kind, with a seed of its own if that kind carries one."""
    return type(index)(place, index.epoch, seed) if hasattr(index, 'epoch') else place
