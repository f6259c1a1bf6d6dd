"""A sampler whose indices carry what is needed to repeat the random views of each sample."""

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler

from mmsimclr.registry import DATA_SAMPLERS


class SampleIndex(int):
    """A dataset index that knows the run's seed and the epoch that asked for it.

    ``MultiView`` seeds the views from (seed, epoch, index). They are then the same whatever the number
    of loader workers and ranks, and after a resume.
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

    def __iter__(self) -> Iterator[SampleIndex]:
        return (SampleIndex(index, self.epoch, self.seed) for index in super().__iter__())
