import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset
from torch.utils.data import DataLoader

from mmsimclr.datasets import InMemoryImages, Shapes, as_fetched
from mmsimclr.engine import SampleIndex, SeededSampler
from mmsimclr.registry import DATASETS

SHAPES = dict(type='Shapes', num_images=10, image_size=16)


def test_a_batch_is_what_the_dataset_holds_at_the_indices():
    dataset = DATASETS.build(dict(type='InMemoryImages', dataset=SHAPES, device='cpu'))
    batch = dataset.__getitems__([SampleIndex(i, epoch=4, seed=6) for i in (7, 2, 2)])
    plain = Shapes(num_images=10, image_size=16)
    assert np.array_equal(batch['inputs'], [plain[i]['img'] for i in (7, 2, 2)])
    assert {key: value.tolist() for key, value in batch['data_samples'].items()} == {
        'sample_idx': [7, 2, 2], 'epoch': [4] * 3, 'seed': [6] * 3, 'image_size': [[16, 16]] * 3}
    assert len(dataset) == 10 and dataset.metainfo['classes'] == plain.classes


def test_a_loader_without_processes_fetches_whole_batches_of_every_image_once():
    dataset = InMemoryImages(SHAPES, device='cpu')
    sampler = SeededSampler(dataset, shuffle=True, seed=1)
    sampler.set_epoch(3)
    batches = list(DataLoader(dataset, 4, sampler=sampler, collate_fn=as_fetched))
    assert [len(batch['inputs']) for batch in batches] == [4, 4, 2]
    places = torch.cat([batch['data_samples']['sample_idx'] for batch in batches])
    assert sorted(places.tolist()) == list(range(10)) and places.tolist() != list(range(10))
    assert torch.equal(torch.cat([batch['inputs'] for batch in batches]), dataset.images[places])
    assert batches[0]['data_samples']['epoch'].tolist() == [3] * 4


def test_the_pipeline_of_the_dataset_is_not_run():
    def fail(item):
        raise AssertionError
    assert len(InMemoryImages({**SHAPES, 'pipeline': [fail]}, device='cpu')) == 10


def test_subsets_keep_their_images():
    subset = InMemoryImages(dict(type='BalancedSubset', dataset={**SHAPES, 'num_images': 30}, fraction=1 / 3),
                            device='cpu')
    whole = InMemoryImages({**SHAPES, 'num_images': 30}, device='cpu')
    assert len(subset) == 10
    assert all((image == whole.images).flatten(1).all(dim=1).any() for image in subset.images)


def test_mmengines_wrappers_keep_theirs():
    plain = InMemoryImages(SHAPES, device='cpu')
    repeated = InMemoryImages(dict(type=RepeatDataset, dataset={**SHAPES, 'type': Shapes}, times=2),
                              device='cpu')
    assert torch.equal(repeated.images, torch.cat([plain.images] * 2))


@pytest.mark.parametrize(('images', 'got'), [
    ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], r'image 1 is uint8 \[4, 5, 3\]'),
    ([np.zeros((4, 4, 3), np.float32)], 'image 0 is float32'), ([None], 'image 0 is NoneType')])
def test_images_that_do_not_fit_into_one_array_are_refused(images, got):
    class Ragged:
        metainfo = {}

        def __init__(self, pipeline=()):
            pass

        def full_init(self):
            pass

        def __len__(self):
            return len(images)

        def get_data_info(self, index):
            return dict(img=images[index], img_path='a.jpg')

    with pytest.raises(ValueError, match=f'Ragged cannot be held in memory: {got}'):
        InMemoryImages(dict(type=Ragged), device='cpu')


def test_indices_without_a_seed_draw_one():
    dataset = InMemoryImages(SHAPES, device='cpu')
    seeds = dataset.__getitems__([1, 1, 1])['data_samples']['seed'].tolist()
    assert len(set(seeds)) == 3


