"""Subsets: as many of each class, repeatable and nothing twice; or the images that a list names."""

import cv2
import numpy as np
import pytest
from mmpretrain.datasets import ImageNet

from mmsimclr.datasets import BalancedSubset, ListedSubset, Shapes, balanced_sample
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


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('imagenet')
    for label in range(2):
        folder = root / 'train' / f'n0000000{label}'
        folder.mkdir(parents=True)
        for number in range(3):
            image = np.full((4, 4, 3), 100 * label + number, np.uint8)
            cv2.imwrite(str(folder / f'n0000000{label}_{number}.JPEG'), image)
    return root


def subset(root, tmp_path, text: str) -> ListedSubset:
    path = tmp_path / 'list.txt'
    path.write_text(text)
    return ListedSubset(dict(type=ImageNet, data_root=str(root), split='train', pipeline=[],
                             metainfo=dict(classes=('cat', 'dog'))), path)


def test_the_listed_images_are_kept_with_their_labels(root, tmp_path):
    images = subset(root, tmp_path, 'n00000001_2.JPEG\nn00000000_1.JPEG\n\n')
    assert [images.get_data_info(i)['img_path'].rsplit('/', 1)[1] for i in range(len(images))] == [
        'n00000000_1.JPEG', 'n00000001_2.JPEG']
    assert images.get_gt_labels().tolist() == [0, 1]
    assert images.data_root == str(root) and images.metainfo['classes'] == ('cat', 'dog')


@pytest.mark.parametrize('text, said', [
    ('n00000000_1.JPEG\nn00000001_9.JPEG\n',
     r'1 of 2 images .*list.txt are not in ImageNet .*n00000001_9.JPEG; n0000000\d_\d.JPEG is'),
    ('n00000000_1.JPEG\nn00000000_1.JPEG\n', 'names n00000000_1.JPEG 2 times'),
    ('\n', 'names no images'),
])
def test_a_wrong_list_is_refused(text, said, root, tmp_path):
    with pytest.raises(ValueError, match=said):
        subset(root, tmp_path, text)


def test_a_missing_list_and_images_without_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no image list at .*prepare imagenet-subsets'):
        ListedSubset(dict(type='Shapes', num_images=10), tmp_path / 'none.txt')
    (tmp_path / 'list.txt').write_text('a.png\n')
    with pytest.raises(ValueError, match=r'has no files.*use BalancedSubset'):
        ListedSubset(dict(type='Shapes', num_images=10, image_size=16), tmp_path / 'list.txt')
