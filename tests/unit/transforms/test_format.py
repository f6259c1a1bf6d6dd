"""Packing: what torch's collation is given."""

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from mmsimclr.transforms import PackImage, PackViews


@pytest.fixture
def img():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


class Tagged(int):
    """A subclass of int."""


def test_views_become_planar_tensors_of_their_own(img):
    packed = PackViews(['sample_idx', 'gt_label'])({
        'img': [img, img[:4]], 'sample_idx': Tagged(5), 'gt_label': np.int64(2), 'img_path': 'a.jpg'})
    assert packed['data_samples'] == {'sample_idx': 5, 'gt_label': 2}
    assert {type(v) for v in packed['data_samples'].values()} == {int}
    first, second = packed['inputs']
    assert torch.equal(first, torch.from_numpy(img.transpose(2, 0, 1).copy()))
    assert second.shape == (3, 4, 9)
    assert first.is_contiguous() and second.is_contiguous() and first.dtype == torch.uint8
    img[0, 0] += 1
    assert first[0, 0, 0] != img[0, 0, 0]


def test_packed_views_collate_view_by_view(img):
    batch = default_collate([PackViews(['sample_idx'])({'img': [img, img[:4]], 'sample_idx': i})
                             for i in range(3)])
    assert [tuple(view.shape) for view in batch['inputs']] == [(3, 3, 6, 9), (3, 3, 4, 9)]
    assert batch['data_samples']['sample_idx'].tolist() == [0, 1, 2]


def test_one_image(img):
    packed = PackImage(keys=['gt_label', 'img_path'])(
        {'img': img, 'gt_label': np.array([0, 1]), 'img_path': 'a.jpg'})
    assert packed['inputs'].shape == (3, 6, 9)
    assert packed['data_samples']['gt_label'].tolist() == [0, 1]
    assert packed['data_samples']['img_path'] == 'a.jpg'


def test_the_wrong_packer_names_the_right_one(img):
    with pytest.raises(TypeError, match=r'MultiView.*PackImage'):
        PackViews()({'img': img})
    with pytest.raises(TypeError, match='PackViews'):
        PackImage()({'img': [img, img]})
    with pytest.raises(TypeError, match='keys'):
        PackViews(keys='gt_label')
