"""A sampler whose indices carry what is needed to repeat the random views of each sample."""

from collections.abc import Iterator
from itertools import islice

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
    """MMEngine's ``DefaultSampler`` (same arguments, same order), yielding :class:`SampleIndex`."""

    _num_passed_over = 0

    def pass_over(self, num_samples: int) -> None:
        """Leave out this rank's first samples the next time it is iterated, and only then."""
        self._num_passed_over = num_samples

    def __iter__(self) -> Iterator[SampleIndex]:
        start, self._num_passed_over = self._num_passed_over, 0
        indices = islice(super().__iter__(), start, None)
        return (SampleIndex(index, self.epoch, self.seed) for index in indices)
