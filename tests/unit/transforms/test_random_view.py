"""One random view is the view that MultiView would make."""

import numpy as np
import torch

from mmsimclr.engine import SampleIndex
from mmsimclr.transforms import MultiView, PackImage, RandomResizedCrop, RandomView

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
STEPS = [dict(type='RandomResizedCrop', size=8)]


def test_a_view_is_the_first_of_multi_view_and_packs_as_an_image():
    item = {'img': IMAGE, 'sample_idx': SampleIndex(3, epoch=1, seed=5), 'gt_label': 2}
    many = MultiView(STEPS, num_views=2)(dict(item))['img']
    packed = PackImage()(RandomView([RandomResizedCrop(8)])(dict(item)))
    assert torch.equal(packed['inputs'], torch.from_numpy(many[0]).permute(2, 0, 1))
    assert packed['data_samples'] == {'sample_idx': 3, 'gt_label': 2}


def test_another_epoch_has_another_view():
    views = [RandomView(STEPS)({'img': IMAGE, 'sample_idx': SampleIndex(3, epoch, 5)})['img']
             for epoch in (1, 2)]
    assert not np.array_equal(*views)
