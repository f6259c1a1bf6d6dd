"""All images of a small dataset in one tensor, on the device."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from torch.utils.data import Dataset

from mmsimclr.errors import InputError
from mmsimclr.registry import DATASETS, FUNCTIONS


@DATASETS.register_module()
class InMemoryImages(Dataset):
    """The images of another dataset, whole batches at a time, for views that are made on the device.

    A loader without worker processes asks for a batch by its indices and gets it by one gather where the
    images lie, by default on the device that is trained on. A batch has the form that ``PackForDevice`` and
    collating give; set ``collate_fn=dict(type='as_fetched')`` in the loader. Items of ``dataset``, a config
    whose pipeline is not used, hold ``img``, uint8 [H, W, 3] of one size, such as CIFAR10 and Shapes.
    """

    def __init__(self, dataset: Mapping[str, Any], device: str | None = None) -> None:
        # Items are taken before any pipeline, so that of a wrapper's own dataset may stay.
        source = DATASETS.build({**dataset, 'pipeline': []} if 'pipeline' in dataset else dataset)
        source.full_init()
        self.metainfo = source.metainfo
        self.images = torch.from_numpy(_stack(source)).to(device or get_device())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict:
        """Return a batch; torch's loader calls it with all indices of one.

        It has ``inputs``, uint8 [N, H, W, 3] on the device, and ``data_samples``: int64 [N] ``sample_idx``,
        ``epoch`` and ``seed``, and ``image_size`` [N, 2], on the CPU. Indices that carry no seed get one.
        """
        rows = torch.tensor([int(index) for index in indices])
        samples = {
            'sample_idx': rows,
            'epoch': torch.tensor([getattr(index, 'epoch', 0) for index in indices]),
            'seed': torch.tensor([index.seed if hasattr(index, 'seed') else random.getrandbits(63)
                                  for index in indices]),
            'image_size': torch.tensor(self.images.shape[1:3]).expand(len(rows), 2)}
        return {'inputs': self.images[rows.to(self.images.device, non_blocking=True)],
                'data_samples': samples}


@FUNCTIONS.register_module()
def as_fetched(batch: dict) -> dict:
    """Return a batch as it is: a ``collate_fn`` where the dataset makes whole batches."""
    return batch


def _stack(dataset: Any) -> np.ndarray:
    """Return the images of a dataset, uint8 [N, H, W, 3]."""
    images = None
    for place in range(len(dataset)):
        img = dataset.get_data_info(place).get('img')
        is_image = isinstance(img, np.ndarray) and img.dtype == np.uint8 and img.shape[2:] == (3,)
        if images is None and is_image:
            images = np.empty((len(dataset), *img.shape), np.uint8)
        if not is_image or img.shape != images.shape[1:]:
            got = f'{img.dtype} {list(img.shape)}' if isinstance(img, np.ndarray) else type(img).__name__
            raise InputError(
                f'{type(dataset).__name__} cannot be held in memory: image {place} is {got}, and all must be '
                'uint8 [H, W, 3] of one size; let the loader read them (LoadImage, PackForDevice)')
        images[place] = img
    return images
