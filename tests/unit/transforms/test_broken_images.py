"""A corpus of unusual and of broken files: which are read, as which pixels; how the others are refused."""

import io
import os
import random
import resource
import subprocess

import numpy as np
import pytest
import torch
from image_corpus import bad_files, good_files
from PIL import Image

from mmsimclr.errors import InputError
from mmsimclr.transforms import (
    ImageReadError,
    LoadImage,
    LoadImageForCrops,
    MultiView,
    PackForDevice,
    PackViews,
    SimCLRView,
    load,
)

GOOD, BAD = good_files(), bad_files()
VIEW = dict(type=SimCLRView, size=16, strength=0.5, blur=False)
READERS = [LoadImage, LoadImageForCrops]


@pytest.fixture
def place(tmp_path):
    def put(name: str, content: bytes) -> dict:
        (tmp_path / name).write_bytes(content)
        return dict(img_path=str(tmp_path / name), sample_idx=0)
    return put


def pixels_of(results: dict) -> np.ndarray:
    return results['img'] if isinstance(results['img'], np.ndarray) else results['img'].decode()


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('name', GOOD)
def test_unusual_files_are_read_as_their_pixels(place, name, reader):
    file = GOOD[name]
    results = reader()(place(name, file.content))
    read = pixels_of(results)
    assert read.dtype == np.uint8 and read.shape == file.pixels.shape == (*results['ori_shape'], 3)
    assert np.abs(read.astype(int) - file.pixels).mean() <= file.tolerance


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('name', GOOD)
def test_views_of_unusual_files_are_made(place, name, reader):
    random.seed(0)
    steps = [reader(), MultiView([VIEW], num_views=2), PackViews()]
    item = place(name, GOOD[name].content)
    for step in steps:
        item = step(item)
    assert [view.shape for view in item['inputs']] == [(3, 16, 16)] * 2


@pytest.mark.parametrize('name', GOOD)
def test_the_device_is_sent_the_same_pixels(place, name):
    loaded = LoadImage()(place(name, GOOD[name].content))
    expected = loaded['img'].copy()
    height, width = expected.shape[:2]
    sent = PackForDevice(canvas_px=20_000 if max(height, width) == 20_000 else 80)(loaded)
    assert sent['data_samples']['image_size'].tolist() == [height, width]
    assert torch.equal(sent['inputs'][:height, :width], torch.from_numpy(expected))


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('name', BAD)
def test_broken_files_are_refused_by_name(place, name, reader):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = [reader(), MultiView([VIEW], num_views=2)]
    item = place(name, BAD[name])
    with pytest.raises(ImageReadError, match=name.replace('.', r'\.') + ': .'):
        for step in steps:
            item = step(item)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 300, 'the pixels of a decompression bomb were given memory'


def test_no_file_of_the_corpus_is_forgotten():
    assert len(GOOD) == 28 and len(BAD) == 17


def test_a_program_is_not_handed_to_an_interpreter(place, monkeypatch):
    monkeypatch.setattr(subprocess, 'Popen', lambda *_, **__: pytest.fail('a process was started'))
    monkeypatch.setattr(os, 'system', lambda *_: pytest.fail('a shell was started'))
    with pytest.raises(ImageReadError, match='not an image in a known format'):
        LoadImage()(place('program.jpg', BAD['program.jpg']))


def test_a_folder_a_link_to_nowhere_and_a_missing_file_are_refused_by_name(tmp_path):
    (tmp_path / 'folder.jpg').mkdir()
    (tmp_path / 'link.jpg').symlink_to(tmp_path / 'nowhere.jpg')
    for name in ('folder.jpg', 'link.jpg', 'missing.jpg'):
        with pytest.raises(ImageReadError, match=name):
            LoadImage()({'img_path': str(tmp_path / name)})


def test_a_file_without_permission_is_refused_by_name(place):
    item = place('secret.jpg', GOOD['plain.jpg'].content)
    os.chmod(item['img_path'], 0)
    if os.access(item['img_path'], os.R_OK):
        pytest.skip('this user, such as root, may read every file')
    with pytest.raises(ImageReadError, match=r'secret\.jpg: Permission denied'):
        LoadImage()(item)


def test_a_shortage_of_the_machine_is_told_from_a_fault_of_the_image(place, monkeypatch):
    def no_handles(*_):
        raise OSError(24, 'Too many open files')

    item = place('plain.jpg', GOOD['plain.jpg'].content)
    monkeypatch.setattr('os.open', no_handles)
    with pytest.raises(ImageReadError, match='Too many open files') as caught:
        LoadImage()(item)
    assert caught.value.errno == 24


def test_a_pipe_in_the_place_of_an_image_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe.jpg')
    with pytest.raises(ImageReadError, match=r'pipe\.jpg is a pipe'):
        LoadImage()({'img_path': str(tmp_path / 'pipe.jpg')})


def test_a_file_that_is_mostly_a_hole_is_refused_before_it_is_read(tmp_path):
    (tmp_path / 'hole.jpg').write_bytes(GOOD['plain.jpg'].content)
    os.truncate(tmp_path / 'hole.jpg', 40_000_000_000)
    with pytest.raises(ImageReadError, match=r'hole\.jpg has 40,000,000,000 bytes'):
        LoadImage()({'img_path': str(tmp_path / 'hole.jpg')})


def tiff(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'TIFF')
    return file.getvalue()


RAMP = np.linspace(0, 1, 48, dtype=np.float64).reshape(6, 8)


@pytest.mark.parametrize('pixels', [
    RAMP.astype(np.float32), (RAMP * 255).round().astype(np.float32), (RAMP * 200).astype(np.int32),
    (RAMP * 4095).astype(np.uint16), (RAMP * 65535).astype(np.uint16)])
def test_more_than_8_bits_are_refused_and_never_scaled_by_a_guess(pixels):
    with pytest.raises(ImageReadError, match=r'x\.tif: it has more than 8 bits .*multiband'):
        load.decode_image(tiff(pixels), 'x.tif')
    with pytest.raises(InputError, match='more than 8 bits'):
        LoadImage()({'img': Image.fromarray(pixels)})
