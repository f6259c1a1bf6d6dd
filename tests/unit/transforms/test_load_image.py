"""LoadImage: every format a folder of images may hold, and every way a file may be broken."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmsimclr.transforms import ImageReadError, LoadImage, read_image


@pytest.fixture
def img():
    rows, columns = np.mgrid[0:32, 0:48]
    return np.stack([rows * 7, columns * 5, 255 - rows * 3 - columns], axis=2).astype(np.uint8)


def close(result, expected, tolerance):
    assert result.dtype == np.uint8 and result.shape == expected.shape
    assert result.flags.c_contiguous
    return np.abs(result.astype(int) - expected).mean() <= tolerance


@pytest.mark.parametrize(('name', 'options', 'tolerance'), [
    ('a.png', {}, 0), ('a.bmp', {}, 0), ('a.tif', {}, 0), ('a.ppm', {}, 0),
    ('a.jpg', {'quality': 95, 'subsampling': 0}, 2), ('a.webp', {'lossless': True}, 0),
    ('progressive.jpg', {'quality': 95, 'subsampling': 0, 'progressive': True}, 2),
    ('ünï cödé.png', {}, 0)])
def test_rgb_files(tmp_path, img, name, options, tolerance):
    Image.fromarray(img).save(tmp_path / name, **options)
    assert close(read_image(tmp_path / name), img, tolerance)


@pytest.mark.parametrize('extension', ['png', 'jpg'])
def test_grey_becomes_three_equal_channels(tmp_path, img, extension):
    Image.fromarray(img[..., 0]).save(tmp_path / f'a.{extension}')
    assert close(read_image(tmp_path / f'a.{extension}'), img[..., :1].repeat(3, 2), 2)


def test_cmyk_jpeg(tmp_path, img):
    Image.fromarray(img).convert('CMYK').save(tmp_path / 'a.jpg', quality=95)
    with Image.open(tmp_path / 'a.jpg') as reference:
        assert close(read_image(tmp_path / 'a.jpg'), np.asarray(reference.convert('RGB')), 0)


def test_palette_and_gif(tmp_path, img):
    palette = Image.fromarray(img).quantize(64)
    expected = np.asarray(palette.convert('RGB'))
    palette.save(tmp_path / 'a.png')
    palette.save(tmp_path / 'a.gif', save_all=True,
                 append_images=[Image.fromarray(255 - img).quantize(64)])
    assert close(read_image(tmp_path / 'a.png'), expected, 0)
    assert close(read_image(tmp_path / 'a.gif'), expected, 0)


def test_transparency_is_composited_on_white(tmp_path, img):
    alpha = np.full((32, 48, 1), 255, np.uint8)
    alpha[:16] = 0
    Image.fromarray(np.concatenate([img, alpha], axis=2)).save(tmp_path / 'a.png')
    expected = img.copy()
    expected[:16] = 255
    assert close(read_image(tmp_path / 'a.png'), expected, 0)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('extension', ['jpg', 'png', 'webp', 'tif'])
def test_exif_orientation_is_applied(tmp_path, img, orientation, extension):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'a.{extension}'
    Image.fromarray(img).save(path, exif=exif, quality=95)
    turned = [img, img[:, ::-1], img[::-1, ::-1], img[::-1], img.transpose(1, 0, 2),
              np.rot90(img, -1), img[::-1, ::-1].transpose(1, 0, 2), np.rot90(img)]
    assert close(read_image(path), turned[orientation - 1], 3)


@pytest.mark.parametrize(('extension', 'part'), [
    ('jpg', 0.5), ('jpg', 0.9), ('png', 0.5), ('png', 0.9), ('gif', 0.3), ('bmp', 0.5)])
def test_a_truncated_file_is_refused_by_name_and_quietly(tmp_path, capfd, monkeypatch, extension,
                                                                 part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f'cut.{extension}'
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * part)])
    # Some of OpenCV's readers fill the missing part with grey: it must not be asked.
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('OpenCV was asked'))
    with pytest.raises(ImageReadError, match=f'cut.{extension}: .'):
        read_image(path)
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize(('content', 'reason'), [
    (b'', 'empty'), (b'hello, world', 'not an image'), (b'\xff\xd8\xff\xd9', 'cannot read'),
    (b'\xff\xd8' + b'\0' * 100 + b'\xff\xd9', 'cannot read')])
def test_what_is_not_an_image_is_refused_by_name(tmp_path, content, reason):
    (tmp_path / 'odd.jpg').write_bytes(content)
    with pytest.raises(ImageReadError, match=reason) as caught:
        LoadImage()({'img_path': str(tmp_path / 'odd.jpg')})
    assert 'odd.jpg' in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_missing_file_and_folder_are_refused_by_name(tmp_path):
    with pytest.raises(ImageReadError, match=r'nowhere.jpg: No such file'):
        read_image(tmp_path / 'nowhere.jpg')
    with pytest.raises(ImageReadError, match='folder'):
        read_image(tmp_path)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path, img):
    path = tmp_path / 'a.jpg'
    Image.fromarray(img).save(path, quality=95, subsampling=0)
    path.write_bytes(path.read_bytes() + b'\0' * 20)
    assert close(read_image(path), img, 2)


def test_an_image_already_there_is_kept(img):
    result = LoadImage()({'img': img, 'img_path': 'not/read.jpg'})
    assert result['img'] is img
    assert result['ori_shape'] == (32, 48)
    assert np.array_equal(LoadImage()({'img': Image.fromarray(img)})['img'], img)


def test_float_image_and_missing_keys_are_refused(img):
    with pytest.raises(TypeError, match=r'uint8.*float32.*\(32, 48, 3\)'):
        LoadImage()({'img': img.astype(np.float32)})
    with pytest.raises(ValueError, match='img_path'):
        LoadImage()({'sample_idx': 3})
