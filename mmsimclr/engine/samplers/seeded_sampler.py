"""A sampler whose indices carry what is needed to repeat the random views of each sample."""

from collections.abc import Iterator

import numpy as np
import torch
from mmengine.dataset import DefaultSampler

from mmsimclr.registry import DATA_SAMPLERS


class SampleIndex(int):
    """A dataset index with the run's seed and the epoch, from which ``MultiView`` seeds the views.

    They are then the same for any number of loader workers and ranks, and after a resume.
    """

    def __new__(cls, index: int, epoch: int, seed: int) -> 'SampleIndex':
        self = super().__new__(cls, index)
        self.epoch = epoch
        self.seed = seed
        return self

    def __reduce__(self):
        return SampleIndex, (int(self), self.epoch, self.seed)


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """MMEngine's ``DefaultSampler`` (same arguments, same order), yielding :class:`SampleIndex`.

    An epoch's order is an array of 8 bytes an image, where MMEngine's is a list of Python integers.
    """

    _num_passed_over = 0

    def pass_over(self, num_samples: int) -> None:
        """Leave out this rank's first samples the next time it is iterated, and only then."""
        self._num_passed_over = num_samples

    def __iter__(self) -> Iterator[SampleIndex]:
        start, self._num_passed_over = self._num_passed_over, 0
        count, generator = len(self.dataset), torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(count, generator=generator).numpy() if self.shuffle else np.arange(count)
        # The places of this rank; beyond the end the order begins again, so that all ranks have as many.
        places = range(self.rank, self.total_size, self.world_size)[start:]
        epoch, seed = self.epoch, self.seed
        return (SampleIndex(order[place % count], epoch, seed) for place in places)
