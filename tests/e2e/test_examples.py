"""The training loops of examples/, at tiny size."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ROOT


@pytest.fixture
def photos(tmp_path):
    (tmp_path / 'photos').mkdir()
    generator = np.random.default_rng(0)
    for number in range(8):
        pixels = generator.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'photos' / f'{number}.jpg')
    return tmp_path


def run(name: str, folder) -> str:
    words = [sys.executable, str(ROOT / 'examples' / name), 'photos', '--epochs', '2', '--batch-size', '4',
             '--view-size', '32']
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_plain_loop_trains_an_encoder_that_is_read_again(photos):
    out = run('plain_pytorch.py', photos)
    assert 'epoch 2/2  loss ' in out
    tensors = torch.load(photos / 'encoder.pth', weights_only=True)
    assert all(torch.isfinite(each).all() for each in tensors.values())
    from mmsimclr import Embedder
    assert Embedder(photos / 'encoder.pth', crop_px=32)(str(photos / 'photos' / '0.jpg')).shape == (1, 512)


@pytest.mark.skipif(importlib.util.find_spec('lightning') is None, reason='Lightning is not installed')
def test_a_lightning_module_trains(photos):
    run('lightning_module.py', photos)
