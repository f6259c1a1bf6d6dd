"""Memory of large tensors: kept within the context, and only there."""

import ctypes
import os
import subprocess
import sys
from contextlib import nullcontext

import cpu_memory_cases
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image
from tiny_run import tiny_config
from torch.utils.data import Dataset

from mmsimclr.checkpoints import InputScale
from mmsimclr.cpu_memory import SETTLED_BY, is_memory_kept, kept_memory
from mmsimclr.features import Embedder, extract_features, extract_to_files
from mmsimclr.models import ResNet
from mmsimclr.runner import build_runner

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith('linux') or not hasattr(ctypes.CDLL(None), 'gnu_get_libc_version')
    or any(name in os.environ for name in SETTLED_BY), reason='needs glibc, with its own thresholds')


# What malloc does depends on all that a process did before, so each gets a new one.
@pytest.mark.parametrize('case', [name for name in dir(cpu_memory_cases) if name.startswith('case_')])
def test_in_a_process_of_its_own(case):
    done = subprocess.run([sys.executable, cpu_memory_cases.__file__, case], text=True, capture_output=True,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'}, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('error', [None, KeyError])
def test_it_ends_with_the_context(error):
    with pytest.raises(error) if error else nullcontext(), kept_memory() as is_kept:
        assert is_kept and is_memory_kept()
        if error:
            raise error
    assert not is_memory_kept()


def test_the_outer_of_two_ends_it():
    with kept_memory():
        with kept_memory('cpu:0'):
            pass
        assert is_memory_kept()
    assert not is_memory_kept()


@pytest.mark.parametrize('device', ['cuda', 'cuda:1', torch.device('cuda', 0), 'meta'])
def test_another_device_needs_none(device):
    with kept_memory(device) as is_kept:
        assert not is_kept


@pytest.mark.parametrize('name', SETTLED_BY)
def test_thresholds_of_the_user_stay(name):
    code = 'from mmsimclr.cpu_memory import kept_memory\nwith kept_memory() as is_kept: print(is_kept)'
    value = 'glibc.malloc.trim_threshold=131072' if name == 'GLIBC_TUNABLES' else '131072'
    done = subprocess.run([sys.executable, '-c', code], env={**os.environ, name: value}, text=True,
                          capture_output=True, check=True)
    assert done.stdout.strip() == 'False'


@pytest.mark.parametrize('library', [object(), TypeError('no library without a name')])
def test_other_c_libraries_are_left_alone(library, monkeypatch):
    def open_library(name):
        if isinstance(library, TypeError):
            raise library
        return library

    monkeypatch.setattr(ctypes, 'CDLL', open_library)
    with kept_memory() as is_kept:
        assert not is_kept


class Watch(Hook, Dataset):
    """Says whether memory is kept in each step of a run, and while an image of it is read."""

    priority = 'HIGHEST'

    def __init__(self, fails_at: int | None = None) -> None:
        self.in_steps, self.fails_at = [], fails_at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.in_steps.append(is_memory_kept())
        if runner.iter == self.fails_at:
            raise KeyError

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        self.in_extraction = is_memory_kept()
        return dict(inputs=[torch.zeros(3, 16, 16, dtype=torch.uint8)], data_samples={})


@pytest.mark.parametrize('fails_at', [None, 3])
def test_training_keeps_it_to_its_end(tmp_path, fails_at):
    runner = build_runner(tiny_config(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=2)))
    watch = Watch(fails_at)
    runner.register_hook(watch)
    with pytest.raises(KeyError) if fails_at else nullcontext():
        runner.train()
    assert watch.in_steps == [True] * len(watch.in_steps) != [] and not is_memory_kept()


def test_training_keeps_no_large_blocks(tmp_path, monkeypatch):
    asked = []

    def record(device, large_blocks=True):
        asked.append((torch.device(device).type, large_blocks))
        return nullcontext()

    monkeypatch.setattr('mmsimclr.runner.runner.kept_memory', record)
    build_runner(tiny_config(tmp_path)).train()
    assert asked == [('cpu', False)]


def test_feature_extraction_keeps_it(tmp_path):
    watch = Watch()
    extract_features(build_runner(tiny_config(tmp_path)).model, watch)
    assert watch.in_extraction and not is_memory_kept()


def test_features_to_files_and_of_many_images_keep_it(tmp_path, monkeypatch):
    embedder, kept = Embedder(ResNet(depth=18, base_channels=4, stem='cifar'), 'cpu', batch_size=2,
                              input=InputScale()), []
    embed_batch = embedder.embed_batch
    monkeypatch.setattr(embedder, 'embed_batch',
                        lambda *args: kept.append(is_memory_kept()) or embed_batch(*args))
    images = np.zeros((3, 32, 32, 3), np.uint8)
    embedder(images)
    assert kept == [True, True]
    embedder(images[:2])                                     # a service's single batch is not held up
    assert kept.pop() is False
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f'{number}.png')
    extract_to_files(embedder, tmp_path, tmp_path / 'features')
    assert kept == [True] * 4 and not is_memory_kept()
