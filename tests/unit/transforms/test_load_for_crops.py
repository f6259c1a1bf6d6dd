"""Decoding a JPEG at the size its crops need: the same views, from fewer pixels."""

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmsimclr.transforms import (
    ImageReadError,
    LoadImage,
    LoadImageForCrops,
    MultiView,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomView,
    SimCLRView,
)
from mmsimclr.transforms.load import EncodedImage

SIZE = 48
CROP = RandomResizedCrop(SIZE, scale=(0.3, 1.0))


@pytest.fixture(scope='module')
def smooth():
    """An asymmetric picture, 301×450, without detail that a smaller size cannot hold."""
    y, x = np.mgrid[0:301, 0:450]
    planes = [x * 0.5 + 20 * np.sin(y / 15), y * 0.7 + 20 * np.cos(x / 25), 60 + (x + y) * 0.2]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


@pytest.fixture
def jpeg(smooth, tmp_path):
    path = tmp_path / 'smooth.jpg'
    Image.fromarray(smooth).save(path, quality=95)
    return str(path)


def views(load, path, transforms, seed=0, num_views=2):
    random.seed(seed)
    return MultiView(transforms, num_views)(load({'img_path': path}))['img']


@pytest.fixture
def reductions(monkeypatch):
    """Record what is decoded."""
    made, decode = [], EncodedImage.decode
    monkeypatch.setattr(EncodedImage, 'decode', lambda self, reduction=1: (
        made.append(reduction), decode(self, reduction))[1])
    return made


@pytest.mark.parametrize('seed', range(12))
def test_views_equal_those_of_the_whole_image(jpeg, seed, reductions):
    reduced = views(LoadImageForCrops(8), jpeg, [CROP, RandomHorizontalFlip()], seed)
    whole = views(LoadImageForCrops(1), jpeg, [CROP, RandomHorizontalFlip()], seed)
    assert reductions[0] in (2, 4) and reductions[1:] == [1]
    for small, large in zip(reduced, whole, strict=True):
        difference = np.abs(small.astype(int) - large)
        # A box moves by half a pixel of the smaller image at most, and the picture by 1.4 levels in that.
        assert difference.mean() <= 1.5
        assert difference.max() <= 8


@pytest.mark.parametrize('max_reduction', [1, 2, 4, 8])
@pytest.mark.parametrize('size', [(16, 40), (40, 16), (100, 100), (301, 301)], ids=str)
def test_the_image_is_decoded_once_at_the_smallest_size_that_suffices(jpeg, size, max_reduction, reductions):
    crop = RandomResizedCrop(size, scale=(0.2, 1.0))
    image = EncodedImage(Path(jpeg).read_bytes(), jpeg, max_reduction)
    found = set()
    for seed in range(40):
        reductions.clear()
        random.seed(seed)
        image.decode_for([crop, crop])
        random.seed(seed)
        boxes = [crop.draw_box(301, 450) for _ in range(2)]
        enough = [r for r in (1, 2, 4, 8) if r <= max_reduction and all(
            box[2] >= r * size[0] and box[3] >= r * size[1] for box in boxes)]
        assert reductions == [max(enough, default=1)]
        found.add(reductions[0])
    possible = {(16, 40): {2, 4, 8}, (40, 16): {2, 4}, (100, 100): {1, 2}, (301, 301): {1}}[size]
    assert found == {min(reduction, max_reduction) for reduction in possible}


@pytest.mark.parametrize('reduction', [1, 2, 4, 8])
def test_boxes_lie_in_the_reduced_image_where_they_lay_in_the_whole(jpeg, reduction, monkeypatch):
    whole = [(0, 0, 301, 450), (11, 7, 290, 443), (5, 2, 8 * SIZE - 100, 440)]
    crop = RandomResizedCrop((200 // reduction, 200 // reduction))
    boxes = iter(whole)
    monkeypatch.setattr(crop, 'draw_box', lambda height, width: next(boxes))
    img, starts = EncodedImage(Path(jpeg).read_bytes(), jpeg, reduction).decode_for([crop] * 3)
    assert img.shape == (-(-301 // reduction), -(-450 // reduction), 3)
    for (top, left, height, width), start in zip(whole, starts, strict=True):
        y, x, h, w = start['crop_box']
        assert y + h <= img.shape[0] and x + w <= img.shape[1]
        for edge, small in ((top, y), (left, x), (top + height, y + h), (left + width, x + w)):
            assert abs(edge - small * reduction) <= (reduction + 1) / 2


@pytest.mark.parametrize('orientation', [1, 3, 6, 8, 9])
def test_the_orientation_is_applied_before_the_boxes_are_drawn(smooth, tmp_path, orientation):
    path, exif = str(tmp_path / 'turned.jpg'), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth).save(path, quality=95, exif=exif)
    upright = LoadImage()({'img_path': path})['img']
    encoded = LoadImageForCrops()({'img_path': path})
    assert encoded['ori_shape'] == encoded['img'].shape == upright.shape[:2]
    assert np.array_equal(encoded['img'].decode(), upright)
    expected = cv2.resize(upright, encoded['img'].decode(4).shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(encoded['img'].decode(4).astype(int) - expected).mean() <= 1.5


def test_one_view_of_the_whole_image_is_that_of_load_image(jpeg):
    pipeline = [SimCLRView(SIZE)]
    made = []
    for load in (LoadImageForCrops(1), LoadImage()):
        random.seed(3)
        made.append(RandomView(pipeline)(load({'img_path': jpeg}))['img'])
    assert np.array_equal(*made)


def test_simclrs_view_is_known_to_begin_with_a_crop(jpeg, reductions):
    views(LoadImageForCrops(), jpeg, [SimCLRView(16, scale=(0.5, 1.0))])
    assert reductions == [8]


def test_a_crop_of_the_users_own_is_asked_for_its_box(jpeg, reductions):
    class CornerCrop:
        size = (30, 40)

        def draw_box(self, height, width):
            return 0, 0, height // 2, width // 2

        def __call__(self, results):
            _, _, height, width = results['crop_box']
            return {**results, 'img': results['img'][:height, :width]}
    made = views(LoadImageForCrops(), jpeg, [CornerCrop()])
    assert reductions == [4] and [view.shape for view in made] == [(38, 56, 3)] * 2


@pytest.mark.parametrize('transforms', [[], [RandomHorizontalFlip(1.0), CROP]])
def test_without_a_crop_at_the_start_the_image_is_whole(jpeg, transforms, reductions):
    made = views(LoadImageForCrops(), jpeg, transforms)
    assert reductions == [1]
    assert all(np.array_equal(*pair) for pair in zip(made, views(LoadImage(), jpeg, transforms), strict=True))


def test_views_without_a_crop_beside_views_with_one_get_the_whole_image(jpeg, reductions):
    _, whole = views(LoadImageForCrops(), jpeg, [[RandomResizedCrop(8)], []], num_views=[1, 1])
    assert reductions == [1] and whole.shape == (301, 450, 3)


def test_other_files_and_arrays_are_read_as_before(smooth, tmp_path):
    path = str(tmp_path / 'smooth.png')
    Image.fromarray(smooth).save(path)
    assert np.array_equal(LoadImageForCrops()({'img_path': path})['img'], smooth)
    assert LoadImageForCrops()({'img': smooth})['img'] is smooth
    with pytest.raises(ValueError, match='img_path'):
        LoadImageForCrops()({})


def test_a_file_in_memory_is_left_encoded_too(jpeg):
    data = Path(jpeg).read_bytes()
    results = LoadImageForCrops()({'img': data, 'img_path': 'in an archive'})
    assert isinstance(results['img'], EncodedImage) and results['ori_shape'] == (301, 450)


def test_a_damaged_file_is_an_error_that_names_it(jpeg, tmp_path):
    data = Path(jpeg).read_bytes()
    start = data.index(b'\xff\xda')
    path = tmp_path / 'damaged.jpg'
    path.write_bytes(data[:start] + b'\xff\xd9')
    with pytest.raises(ImageReadError, match=r'damaged\.jpg'):
        views(LoadImageForCrops(), str(path), [CROP])
    with pytest.raises(ImageReadError, match='absent'):
        LoadImageForCrops()({'img_path': 'absent.jpg'})


def test_a_header_that_pillow_refuses_is_left_to_the_decoder(jpeg, monkeypatch):
    expected = LoadImage()({'img_path': jpeg})
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)        # Pillow refuses what it takes for a bomb
    results = LoadImageForCrops()({'img_path': jpeg})
    assert np.array_equal(results['img'], expected['img']) and results['ori_shape'] == (301, 450)


def test_what_only_pillow_decodes_has_the_reduced_size(jpeg, monkeypatch):
    encoded = LoadImageForCrops()({'img_path': jpeg})['img']
    expected = encoded.decode(4)
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda data, flags: None)
    img = encoded.decode(4)
    monkeypatch.setattr(cv2, 'imdecode', decode)
    assert img.shape == expected.shape and np.abs(img.astype(int) - expected).mean() <= 1.5


@pytest.mark.parametrize('value', [0, 3, 16, None])
def test_other_reductions_are_refused(value):
    with pytest.raises(ValueError, match='max_reduction must be one of 1, 2, 4, 8, got'):
        LoadImageForCrops(value)
