"""A training set in which unreadable images are replaced, counted, and bounded in number."""

import errno
import logging
import random
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmsimclr.datasets.base import DatasetWrapper
from mmsimclr.errors import InputError, MachineError
from mmsimclr.registry import DATASETS

# A shortage of the machine, not a fault of the image at hand.
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
MAX_DRAWS = 1000


@DATASETS.register_module()
class ReplaceUnreadable(DatasetWrapper):
    """Another dataset, in which an image drawn from all others takes the place of an unreadable one.

    The draw follows from the run's seed, the epoch, the index asked for and which files are unreadable. So it
    is the same for any number of workers and ranks, and after a resume.

    ``bad_images=dict(max_fraction=...)`` at the top level of a config puts this around the training set.

    The pipeline of ``dataset``, a training set or its config, raises ``OSError`` for an unreadable image, as
    :class:`~mmsimclr.transforms.LoadImage` does. Other errors are raised, and so is one when more than
    ``max_fraction`` of the images, > 0 and < 1, are unreadable. Workers share ``unreadable``, bool [N].
    """

    def __init__(self, dataset: Mapping[str, Any] | Dataset, max_fraction: float) -> None:
        if not 0 < max_fraction < 1:
            raise InputError(f'max_fraction must be > 0 and < 1, got {max_fraction}')
        super().__init__(dataset)
        if getattr(self.dataset, 'test_mode', False):
            raise InputError('images to test on must not be replaced: take test_mode=True out, or bad_images')
        self.max_fraction = max_fraction
        self.unreadable = torch.zeros(len(self.dataset), dtype=torch.bool).share_memory_()

    def __getitem__(self, index: int) -> Any:
        """Return image ``index`` after the pipeline, or its replacement; raise as :meth:`check` does."""
        asked, draws = index, None
        for _ in range(MAX_DRAWS):
            if not self.unreadable[int(asked)]:
                try:
                    return self.dataset[asked]
                except OSError as error:
                    if error.errno in SHORTAGES:
                        raise
                    self._note(int(asked), error)
            if draws is None:                                       # leaves the generator of the views alone
                seed, epoch = getattr(index, 'seed', 0), getattr(index, 'epoch', 0)
                draws = random.Random(f'{seed} {epoch} {int(index)}')
            place, seed = draws.randrange(len(self)), draws.getrandbits(62)
            # An index of the same kind, with the seed of its own where that kind carries one.
            asked = type(index)(place, index.epoch, seed) if hasattr(index, 'epoch') else place
        raise MachineError(f'{MAX_DRAWS} images drawn in the place of image {int(index)} are all unreadable')

    def check(self) -> None:
        """Raise RuntimeError if more images than ``max_fraction`` were found unreadable."""
        count, allowed = int(self.unreadable.sum()), int(self.max_fraction * len(self))
        if count > allowed:
            raise MachineError(
                f'{count} of {len(self)} training images cannot be read, and bad_images.max_fraction='
                f'{self.max_fraction:g} allows {allowed}: the log names them; replace the files, or allow '
                'more')

    def _note(self, place: int, error: OSError) -> None:
        self.unreadable[place] = True
        name = str(self.dataset.get_data_info(place).get('img_path') or f'number {place}')
        reason = str(error) if name in str(error) else f'cannot read image {name}: {error}'
        print_log(f'{reason}; another image is taken in its place', logger='current', level=logging.WARNING)
        self.check()
