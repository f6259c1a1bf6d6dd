"""Features kept for several protocols: never those of other images, and named wherever the images lie."""

import numpy as np
import pytest
from PIL import Image
from tiny_benchmark import tiny_benchmark

from mmsimclr.environment import versions
from mmsimclr.features import extraction as files
from mmsimclr.protocols.result import feature_names


def write_images(root, seed: int = 0) -> dict:
    """Write four BMPs, all of as many bytes; return the config of their dataset."""
    random = np.random.default_rng(seed)
    for number in range(4):
        path = root / 'ab'[number % 2] / f'{number}.bmp'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return dict(type='mmpretrain.CustomDataset', data_root=str(root), pipeline=[], extensions=('.bmp',))


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / 'images')


@pytest.fixture
def features(tmp_path):
    def of(images):
        return tiny_benchmark(tmp_path / 'work').features(images, resize_px=16, crop_px=16)
    return of


def kept(tmp_path) -> int:
    return len(list((tmp_path / 'features').iterdir()))


def test_an_image_replaced_by_another_of_as_many_bytes_is_extracted_anew(images, features, tmp_path):
    before = np.array(features(images).stages['pooled'])
    assert np.array_equal(features(images).stages['pooled'], before) and kept(tmp_path) == 1
    # Swapped, so that names, sizes and the set of times stay.
    first, second, aside = (tmp_path / 'images/a' / name for name in ('0.bmp', '2.bmp', 'aside'))
    for old, new in ((first, aside), (second, first), (aside, second)):
        old.rename(new)
    after = features(images).stages['pooled']
    np.testing.assert_allclose(after, before[[1, 0, 2, 3]], rtol=1e-5, atol=1e-6)
    assert not np.allclose(before[0], before[1], rtol=1e-3)


@pytest.mark.parametrize('what', ['versions', 'classes'])
def test_another_version_or_other_names_of_classes_are_no_obstacle(what, images, features, tmp_path,
                                                                   monkeypatch):
    features(images)
    if what == 'versions':
        monkeypatch.setattr(files, 'versions', lambda: {**versions(), 'torch': '99'})
    else:
        images['metainfo'] = dict(classes=('one', 'two'))
    manifest = features(images).manifest
    assert kept(tmp_path) == 2
    assert manifest['versions']['torch'] == '99' if what == 'versions' else \
        manifest['images']['classes'] == ['one', 'two']


def test_a_split_without_images_is_an_error_of_the_data(images, features, tmp_path):
    (tmp_path / 'images/none').mkdir()
    images['data_root'] = str(tmp_path / 'images/none')
    with pytest.raises(ValueError, match='no images to measure on: Found 0 files'):
        features(images)


def test_images_are_named_below_their_root_wherever_they_lay_when_extracted(images, features, tmp_path):
    want = ['a/0.bmp', 'a/2.bmp', 'b/1.bmp', 'b/3.bmp']
    assert feature_names(features(images)).tolist() == want
    (tmp_path / 'images').rename(tmp_path / 'moved')
    images['data_root'] = str(tmp_path / 'moved')
    assert feature_names(features(images)).tolist() == want
    assert kept(tmp_path) == 1, 'moving is not writing'
