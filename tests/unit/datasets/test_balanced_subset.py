"""A balanced share: as many of each class, repeatable, and nothing twice."""

import numpy as np
import pytest

from mmsimclr.datasets import BalancedSubset, Shapes, balanced_sample
from mmsimclr.engine import SampleIndex

UNEVEN = np.repeat([0, 1, 2], [50, 20, 9])


def test_each_class_gives_as_many_and_the_rest_one_more():
    for num_images, spread in ((9, [3, 3, 3]), (10, [3, 3, 4]), (26, [8, 9, 9])):
        chosen = balanced_sample(UNEVEN, 3, num_images, seed=1)
        assert len(set(chosen)) == num_images and chosen == sorted(chosen)
        assert sorted(np.bincount(UNEVEN[chosen], minlength=3)) == spread


def test_the_seed_decides_and_every_image_can_be_drawn():
    draws = [balanced_sample(UNEVEN, 3, 9, seed) for seed in range(300)]
    assert draws[0] == balanced_sample(UNEVEN, 3, 9, 0) and draws[0] != draws[1]
    times = np.bincount(np.concatenate(draws), minlength=len(UNEVEN))
    expected = 300 * 3 / np.bincount(UNEVEN)[UNEVEN]
    assert times.min() > 0 and np.all(np.abs(times - expected) < 5 * np.sqrt(expected) + 3)
    extra = [int(np.argmax(np.bincount(UNEVEN[balanced_sample(UNEVEN, 3, 10, seed)]))) for seed in range(30)]
    assert set(extra) == {0, 1, 2}, 'not always the first class gives one more'


def test_a_class_with_too_few_images_and_too_small_a_share_are_refused():
    with pytest.raises(ValueError, match=r'class 2 has 9 images .* needs 10; lower fraction'):
        balanced_sample(UNEVEN, 3, 30, 0)
    with pytest.raises(ValueError, match='class 3 has 0 images'):
        balanced_sample(UNEVEN, 4, 8, 0)
    with pytest.raises(ValueError, match='2 of 79 images are less than one for each of 3 classes'):
        balanced_sample(UNEVEN, 3, 2, 0)
    for fraction in (0, 1.5, float('nan')):
        with pytest.raises(ValueError, match='fraction must be in'):
            BalancedSubset(dict(type='Shapes', num_images=10), fraction)


def test_items_are_the_dataset_s_under_new_numbers():
    whole = Shapes(num_images=40, image_size=16)
    subset = BalancedSubset(dict(type='Shapes', num_images=40, image_size=16), 0.5, seed=2)
    assert len(subset) == 20 and subset.metainfo['classes'] == whole.classes
    assert np.bincount(subset.get_gt_labels()).tolist() == [2] * 10
    chosen = balanced_sample(whole.get_gt_labels(), 10, 20, 2)
    for number, place in enumerate(chosen):
        item, original = subset[SampleIndex(number, epoch=7, seed=1)], whole[place]
        assert np.array_equal(item['img'], original['img']) and item['gt_label'] == original['gt_label']
        assert item['sample_idx'] == number and item['sample_idx'].epoch == 7, 'views stay seeded'
