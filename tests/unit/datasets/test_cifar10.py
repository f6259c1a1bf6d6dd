import copy
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from tiny_cifar10 import NAMES, NUM_IMAGES, TinyCIFAR10

from mmsimclr.datasets.cifar10 import CIFAR10
from mmsimclr.engine import SampleIndex
from mmsimclr.files import unpickling
from mmsimclr.registry import DATASETS

REAL_ROOT = Path(__file__).parents[3] / 'data' / 'cifar10'
real_data = pytest.mark.skipif(
    not (REAL_ROOT / 'cifar-10-batches-bin').is_dir(),
    reason=f'no CIFAR-10 in {REAL_ROOT}; mmsimclr prepare cifar10 makes it')


@pytest.fixture
def tiny(monkeypatch):
    tiny = TinyCIFAR10()
    tiny.make_official(monkeypatch)
    return tiny


@pytest.fixture
def root(tiny, tmp_path):
    tiny.write_binary(tmp_path / 'cifar-10-batches-bin')
    return tmp_path


def _train_images(tiny):
    return np.concatenate([tiny.images[name] for name in NAMES[:5]])


def _train_labels(tiny):
    return [label for name in NAMES[:5] for label in tiny.labels[name]]


@pytest.mark.parametrize(('write', 'folder'), [
    ('write_binary', 'cifar-10-batches-bin'), ('write_binary', ''),
    ('write_pickled', 'cifar-10-batches-py'), ('write_pickled', '')])
def test_both_versions_give_the_same_images_and_labels(tiny, tmp_path, write, folder):
    getattr(tiny, write)(tmp_path / folder)
    train, test = CIFAR10(str(tmp_path)), CIFAR10(str(tmp_path), split='test')
    np.testing.assert_array_equal(train.images, _train_images(tiny))
    assert train.get_gt_labels().tolist() == _train_labels(tiny)
    np.testing.assert_array_equal(test.images, tiny.images['test_batch'])
    assert test.get_gt_labels().tolist() == tiny.labels['test_batch']
    assert (len(train), len(test)) == (5 * NUM_IMAGES, NUM_IMAGES)


def test_images_are_one_contiguous_array_and_nothing_is_serialised(root):
    dataset = CIFAR10(str(root))
    assert dataset.images.flags.c_contiguous and dataset.images.dtype == np.uint8
    assert dataset.images.shape == (5 * NUM_IMAGES, 32, 32, 3)
    assert dataset.data_list == [] and not hasattr(dataset, 'data_bytes')


def test_item_has_image_label_and_the_very_index_object(root, tiny):
    index = SampleIndex(30, epoch=1, seed=2)
    item = CIFAR10(str(root))[index]
    assert set(item) == {'img', 'gt_label', 'sample_idx'}
    np.testing.assert_array_equal(item['img'], tiny.images['data_batch_2'][6])
    assert item['gt_label'] == tiny.labels['data_batch_2'][6] and type(item['gt_label']) is int
    assert item['sample_idx'] is index


def test_negative_index_counts_from_the_end_and_beyond_is_refused(root):
    dataset = CIFAR10(str(root))
    assert dataset[-1]['sample_idx'] == 5 * NUM_IMAGES - 1
    for beyond in (5 * NUM_IMAGES, -5 * NUM_IMAGES - 1):
        with pytest.raises(IndexError):
            dataset[beyond]


def test_changing_an_item_in_place_does_not_change_the_data_set(root, tiny):
    dataset = CIFAR10(str(root))
    dataset[0]['img'][:] = 0
    np.testing.assert_array_equal(dataset[0]['img'], tiny.images['data_batch_1'][0])


def test_pipeline_is_applied_in_order(root, tiny):
    dataset = CIFAR10(str(root), pipeline=[lambda item: {**item, 'sum': int(item['img'].sum())},
                                           lambda item: (item['sum'], item['gt_label'])])
    assert dataset[3] == (int(tiny.images['data_batch_1'][3].sum()),
                          tiny.labels['data_batch_1'][3])


def test_num_images_takes_the_first_of_each_class_in_file_order(root, tiny):
    labels = _train_labels(tiny)
    for num_images in (20, 23):
        chosen, taken = [], dict.fromkeys(range(10), 0)
        share = {label: num_images // 10 + (label < num_images % 10) for label in range(10)}
        for place, label in enumerate(labels):
            if taken[label] < share[label]:
                taken[label] += 1
                chosen.append(place)
        dataset = CIFAR10(str(root), num_images=num_images)
        np.testing.assert_array_equal(dataset.images, _train_images(tiny)[chosen])
        assert dataset.get_gt_labels().tolist() == [labels[place] for place in chosen]


@pytest.mark.parametrize('num_images', [0, -1, 121])
def test_num_images_out_of_range_is_refused(root, num_images):
    with pytest.raises(ValueError, match=rf'num_images .* in \[1, 120\], got {num_images}'):
        CIFAR10(str(root), num_images=num_images)


@pytest.mark.parametrize(('indices', 'places'), [
    (3, [0, 1, 2]), (-2, [118, 119]), ([5, 119, 0], [5, 119, 0]), (120, range(120))])
def test_indices_and_subsets_are_the_same_images(root, tiny, indices, places):
    images, labels = _train_images(tiny)[list(places)], np.array(_train_labels(tiny))[list(places)]
    whole = CIFAR10(str(root))
    in_place = copy.deepcopy(whole)
    in_place.get_subset_(indices)
    for dataset in (CIFAR10(str(root), indices=indices), whole.get_subset(indices), in_place):
        np.testing.assert_array_equal(dataset.images, images)
        np.testing.assert_array_equal(dataset.get_gt_labels(), labels)
        assert len(dataset) == len(places)
    assert len(whole) == 120


def test_lazy_init_reads_at_first_use(root, tiny):
    dataset = CIFAR10(str(root), lazy_init=True)
    assert len(dataset.images) == 0
    assert len(dataset) == 120
    assert dataset.get_cat_ids(1) == [tiny.labels['data_batch_1'][1]]


def test_classes_are_the_official_ones_and_can_be_overridden(root):
    assert CIFAR10(str(root)).metainfo['classes'] == (
        'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
    assert CIFAR10(str(root), metainfo={'classes': ['a']}).metainfo['classes'] == ['a']


def test_a_config_can_name_it(root):
    dataset = DATASETS.build({'type': 'CIFAR10', 'data_root': str(root), 'split': 'test'})
    assert len(dataset) == NUM_IMAGES


def test_unknown_split_is_refused(root):
    with pytest.raises(ValueError, match="'train', 'test', got 'val'"):
        CIFAR10(str(root), split='val')


@pytest.mark.parametrize('folder_exists', [True, False])
def test_missing_data_names_the_folder_and_the_command(tiny, tmp_path, folder_exists):
    root = tmp_path if folder_exists else tmp_path / 'absent'
    with pytest.raises(FileNotFoundError) as caught:
        CIFAR10(str(root))
    for part in (str(root), 'cifar-10-batches-bin/data_batch_1.bin',
                 'cifar-10-batches-py/data_batch_1',
                 f'mmsimclr prepare cifar10 --data-root {root}'):
        assert part in str(caught.value)


def test_missing_batch_is_named(root):
    (root / 'cifar-10-batches-bin' / 'data_batch_4.bin').unlink()
    with pytest.raises(FileNotFoundError, match=r'data_batch_4\.bin is missing.*mmsimclr prepare'):
        CIFAR10(str(root))
    assert len(CIFAR10(str(root), split='test')) == NUM_IMAGES


def test_truncated_batch_is_named_with_both_sizes(root):
    path = root / 'cifar-10-batches-bin' / 'data_batch_3.bin'
    os.truncate(path, 100)
    with pytest.raises(ValueError, match=r'data_batch_3\.bin .*expected 73752 bytes, got 100.*'
                                         'mmsimclr prepare cifar10'):
        CIFAR10(str(root))


@pytest.mark.parametrize('version', ['bin', 'py'])
def test_one_wrong_byte_is_noticed(tiny, tmp_path, version):
    folder = tmp_path / f'cifar-10-batches-{version}'
    write, suffix = ((tiny.write_binary, '.bin') if version == 'bin' else
                     (tiny.write_pickled, ''))
    path = write(folder) / f'data_batch_2{suffix}'
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    actual = hashlib.md5(content).hexdigest()
    with pytest.raises(ValueError, match=f'data_batch_2.*got {actual}'):
        CIFAR10(str(tmp_path))


def test_pickle_is_not_opened_before_its_md5_matches(tiny, tmp_path, monkeypatch):
    tiny.write_pickled(tmp_path)
    (tmp_path / 'data_batch_1').write_bytes(pickle.dumps({}))
    monkeypatch.setattr(unpickling.ArrayUnpickler, 'load',
                        lambda self: pytest.fail('opened a file that is not the official one'))
    with pytest.raises(ValueError, match='data_batch_1 is truncated or wrong: expected md5'):
        CIFAR10(str(tmp_path))


@real_data
def test_real_test_split_begins_as_known():
    dataset = CIFAR10(str(REAL_ROOT), split='test')
    assert len(dataset) == 10000
    assert np.bincount(dataset.get_gt_labels()).tolist() == [1000] * 10
    # The first test images, known from countless tutorials: cat, ship, ship, airplane, frog.
    names = [dataset.metainfo['classes'][dataset[i]['gt_label']] for i in range(5)]
    assert names == ['cat', 'ship', 'ship', 'airplane', 'frog']
    # Top left pixel of the first test image, R G B.
    assert dataset[0]['img'][0, 0].tolist() == [158, 112, 49]


@real_data
def test_real_train_split_has_the_published_channel_means():
    dataset = CIFAR10(str(REAL_ROOT))
    assert dataset.images.nbytes == 50000 * 3072
    assert np.bincount(dataset.get_gt_labels()).tolist() == [5000] * 10
    # The widely used normalisation constants of CIFAR-10, R G B.
    means = [dataset.images[..., channel].sum(dtype=np.int64) / (50000 * 1024 * 255)
             for channel in range(3)]
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-5)
    balanced = CIFAR10(str(REAL_ROOT), num_images=1000)
    assert np.bincount(balanced.get_gt_labels()).tolist() == [100] * 10
