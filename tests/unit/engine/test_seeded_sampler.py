import pickle
import tracemalloc

import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from mmsimclr.datasets import Shapes
from mmsimclr.engine import SampleIndex, SeededSampler
from mmsimclr.registry import DATA_SAMPLERS
from mmsimclr.transforms import MultiView, PackViews, SimCLRView

PIPELINE = [dict(type=MultiView, num_views=2, transforms=[dict(type=SimCLRView, size=16, blur=False)]),
            dict(type=PackViews, keys=['sample_idx'])]
# Every random step that SimCLR's view does not have, on one branch.
ASYMMETRIC = [dict(type=MultiView, shared=[dict(type='RandomResizedCrop', size=16)], transforms=[[], [
    dict(type='AutoAugment'), dict(type='Cutout'), dict(type='Rotate90'), dict(type='Sobel', prob=0.5),
    dict(type='GaussianNoise')]]), dict(type=PackViews, keys=['sample_idx'])]


def views_by_index(num_workers: int = 0, seed: int = 7, epochs: int = 1, dataset=None) -> dict:
    """Return the two views of each image in the last of some epochs."""
    dataset = dataset or Shapes(num_images=12, image_size=16, pipeline=PIPELINE)
    sampler = SeededSampler(dataset, shuffle=True, seed=seed)
    loader = DataLoader(dataset, 5, sampler=sampler, num_workers=num_workers,
                        persistent_workers=num_workers > 0)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches = list(loader)
    return {int(index): (first, second) for batch in batches
            for index, first, second in zip(batch['data_samples']['sample_idx'], *batch['inputs'],
                                            strict=True)}


def same(left: dict, right: dict) -> list[bool]:
    assert sorted(left) == sorted(right) == list(range(12))
    return [torch.equal(a, b) for i in left for a, b in zip(left[i], right[i], strict=True)]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize(('num_images', 'rank', 'ranks'), [
    (11, 0, 1), (11, 0, 4), (11, 2, 4), (11, 3, 4), (3, 6, 7)])
def test_order_is_that_of_mmengines_sampler_in_every_epoch(
        monkeypatch, shuffle, round_up, num_images, rank, ranks):
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, ranks))
    ours, theirs = (cls(range(num_images), shuffle=shuffle, seed=3, round_up=round_up)
                    for cls in (SeededSampler, DefaultSampler))
    orders = []
    for epoch in range(3):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        orders.append(list(theirs))
        assert list(ours) == orders[-1]
        ours.pass_over(2)
        assert list(ours) == orders[-1][2:] and list(ours) == orders[-1]
    assert (orders[0] != orders[1]) == (shuffle and len(orders[0]) > 1)


def test_an_epoch_of_millions_takes_eight_bytes_an_image():
    sampler = SeededSampler(range(1_000_000), shuffle=True, seed=3)
    tracemalloc.start()
    try:
        indices = iter(sampler)
        first, _ = next(indices), next(indices)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(first, SampleIndex) and 0 <= first < 1_000_000
    assert peak < 9_000_000                                     # a list of them: 36 MB


def test_indices_carry_seed_and_epoch():
    sampler = DATA_SAMPLERS.build(dict(type='SeededSampler', shuffle=False, seed=3),
                                  default_args=dict(dataset=range(4)))
    sampler.set_epoch(5)
    assert [(int(i), i.epoch, i.seed) for i in sampler] == [(n, 5, 3) for n in range(4)]


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_index_survives_pickling_with_its_seed_and_epoch(protocol):
    index = pickle.loads(pickle.dumps(SampleIndex(9, epoch=4, seed=2), protocol))
    assert (type(index), index, index.epoch, index.seed) == (SampleIndex, 9, 4, 2)
    assert [10, 11][SampleIndex(1, 0, 0)] == 11


@pytest.mark.parametrize('pipeline', [PIPELINE, ASYMMETRIC], ids=['SimCLR', 'asymmetric'])
def test_views_do_not_depend_on_the_number_of_workers(pipeline):
    found = [views_by_index(workers, epochs=2, dataset=Shapes(
        num_images=12, image_size=16, pipeline=pipeline)) for workers in (0, 2)]
    assert all(same(*found))


def test_views_do_not_depend_on_what_was_drawn_before():
    want = views_by_index()
    torch.manual_seed(99)
    dataset = Shapes(num_images=12, image_size=16, pipeline=PIPELINE)
    for _ in range(3):
        dataset[4]
    assert all(same(want, views_by_index(dataset=dataset)))


def test_two_views_two_epochs_and_two_seeds_all_differ():
    first = views_by_index()
    assert not any(torch.equal(a, b) for a, b in first.values())
    assert not any(same(first, views_by_index(epochs=2)))
    assert not any(same(first, views_by_index(seed=8)))
