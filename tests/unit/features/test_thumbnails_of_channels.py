"""Thumbnails and sheets of images that are no 8-bit RGB, and folders of arrays."""

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from mmsimclr.checkpoints import InputScale, UnsupportedEncoderError, check_scale
from mmsimclr.cli import main
from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.errors import MissingFileError
from mmsimclr.features.thumbnails import thumbnail
from mmsimclr.models import NonLinearNeck, ResNet, SimCLR

READING = dict(channels=13, dtype='uint16', value_range=[0, 10000])


def ramp(channels: int) -> np.ndarray:
    """Return an image that gets brighter to the right, by so little that its high bytes are all one."""
    row = np.linspace(300, 500, 40).astype(np.uint16)
    return np.broadcast_to(row[None, :, None], (40, 40, channels)).copy()


@pytest.mark.parametrize('name', ['deep.png', 'bands.tif', 'grey.tif', 'array.npy'])
def test_a_thumbnail_has_the_full_contrast_of_the_image(tmp_path, name):
    image, path = ramp(13), tmp_path / name
    if name == 'deep.png':
        cv2.imwrite(str(path), image[:, :, :3])
    elif name == 'array.npy':
        np.save(path, image)
    else:
        tifffile.imwrite(path, np.moveaxis(image, -1, 0) if name == 'bands.tif' else image[:, :, 0])
    small, side = thumbnail(dict(img_path=str(path)), 20)
    assert small.shape == (20, 20, 3) and side == 40
    assert small[:, 0].max() < 15 and small[:, -1].min() > 240
    assert (np.diff(small[0, :, 0].astype(int)) >= 0).all()


def test_a_thumbnail_of_8_bit_colours_is_as_before(tmp_path):
    image = np.random.default_rng(0).integers(100, 120, (40, 40, 3)).astype(np.uint8)
    for name in ('plain.png', 'plain.tif'):
        Image.fromarray(image).save(tmp_path / name)
        small, _ = thumbnail(dict(img_path=str(tmp_path / name)), 40)
        np.testing.assert_array_equal(small, image)


@pytest.mark.parametrize('ending', ['npy', 'dcm'])
def test_arrays_are_the_images_of_a_folder_without_others(tmp_path, ending):
    for number in range(3):
        np.save(tmp_path / f'{number}.npy', ramp(2))
        (tmp_path / f'{number}.npy').rename(tmp_path / f'{number}.{ending}')
    (tmp_path / 'notes.txt').write_text('')
    found = UnlabeledImageFolder(str(tmp_path))
    assert [found.get_data_info(i)['img_path'][-5:] for i in range(3)] == [f'{i}.{ending}' for i in range(3)]
    with pytest.raises(MissingFileError, match=r'\.jpg'):
        UnlabeledImageFolder(str(tmp_path), extensions=['.jpg']).full_init()
    Image.new('RGB', (30, 20)).save(tmp_path / 'photo.jpg')
    assert len(UnlabeledImageFolder(str(tmp_path))) == 1


def test_a_sheet_of_views_shows_chosen_bands(tmp_path):
    (tmp_path / 'images').mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / 'images' / f'{number}.tif', np.moveaxis(ramp(13), -1, 0))
    words = ['views', 'simclr_resnet18-w32_1xb128-coslr-120e_multiband', f'data_root={tmp_path / "images"}',
             'channels=13', 'value_range=(0,1000)', 'preset=microscopy', '--num-images', '2',
             '--num-draws', '2']
    for options in (['--bands', '3', '2', '1'], ['--bands', '9', '--colormap', 'viridis'], []):
        out = tmp_path / f'{len(options)}.png'
        done = CliRunner().invoke(main, [*words, *options, '--out', str(out)])
        assert done.exit_code == 0, done.output
        assert Image.open(out).size[0] > 300
    for more, said in ((['--bands', '3', '13', '1'], 'channels of 0 to 12'),
                       (['preset=photographs'], 'preset must be one of')):
        refused = CliRunner().invoke(main, [*words, *more, '--out', str(tmp_path / 'no.png')])
        assert refused.exit_code == 1 and said in refused.output and not (tmp_path / 'no.png').exists()


def test_a_model_must_get_images_read_as_those_of_its_encoder():
    scaling = dict(type='mmsimclr.ViewPreprocessor', mean=[0.0] * 13, std=[255.0] * 13)
    model = SimCLR(ResNet(18, base_channels=4, in_channels=13), NonLinearNeck(32, 32, 8),
                   data_preprocessor=scaling)
    scale = InputScale((0.0,) * 13, (255.0,) * 13, stated=True, reading=READING)
    with pytest.raises(UnsupportedEncoderError, match='8-bit RGB'):
        check_scale(model, scale, 'a.pth')
    model.reading = {**READING, 'dtype': 'uint8'}
    with pytest.raises(UnsupportedEncoderError, match=r'uint16.*uint8'):
        check_scale(model, scale, 'a.pth')
    model.reading = dict(READING)
    check_scale(model, scale, 'a.pth')
