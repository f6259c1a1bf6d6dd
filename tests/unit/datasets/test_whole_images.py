"""Images must be whole, and are as large as OpenCV, which loads them for training, makes them."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets.annotations import UnreadableImageError, image_size, read_mask

KINDS = ('jpg', 'png', 'webp', 'bmp', 'tif')


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize('kind', KINDS)
def test_half_an_image_is_refused(kind, pixels, tmp_path):
    path = tmp_path / f'a.{kind}'
    Image.fromarray(pixels).save(path)
    assert image_size(path) == (60, 40)
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])
    with pytest.raises(UnreadableImageError, match=rf'a\.{kind} is not an image that can be read'):
        image_size(path)


@pytest.mark.parametrize('kind', ['jpg', 'png'])
def test_what_editors_append_to_an_image_is_no_damage(kind, pixels, tmp_path):
    path = tmp_path / f'a.{kind}'
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes() + bytes(10_000))
    assert image_size(path) == (60, 40)


@pytest.mark.parametrize('mode', ['L', 'P', '1', 'CMYK', 'RGB'])
def test_images_of_any_colours_are_read(mode, pixels, tmp_path):
    path = tmp_path / ('a.jpg' if mode in ('L', 'CMYK', 'RGB') else 'a.png')
    Image.fromarray(pixels).convert(mode).save(path)
    assert image_size(path) == (60, 40)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_size_is_that_of_what_opencv_loads(orientation, pixels, tmp_path):
    path = tmp_path / 'a.jpg'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    assert image_size(path) == cv2.imread(str(path)).shape[1::-1]


@pytest.mark.parametrize('content', [b'', b'text', b'\xff\xd8\xff\xd9'])
def test_what_is_no_image_is_refused(content, tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r'a\.jpg is not an image that can be read'):
        image_size(path)
    with pytest.raises(ValueError, match=r'a\.jpg is not a mask that can be read'):
        read_mask(path)


def test_an_image_that_would_fill_the_memory_is_refused(pixels, tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    Image.fromarray(pixels).save(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1_000)
    with pytest.raises(UnreadableImageError, match=r'a\.png is not an image .*decompression bomb'):
        image_size(path)


def test_masks_are_numbers_not_colours(pixels, tmp_path):
    path, labels = tmp_path / 'a.png', pixels[..., 0] % 5
    palette = Image.fromarray(labels)
    palette.putpalette([90, 80, 70] * 256)
    for image in (Image.fromarray(labels), palette):
        image.save(path)
        np.testing.assert_array_equal(read_mask(path), labels)
    for mode, channels in (('RGB', 3), ('RGBA', 4), ('LA', 2)):
        Image.fromarray(pixels).convert(mode).save(path)
        with pytest.raises(ValueError, match=rf'a\.png has {channels} channels, .* convert its colours'):
            read_mask(path)
