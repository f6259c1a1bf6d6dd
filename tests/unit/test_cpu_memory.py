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
from mmengine.config import Config
from mmengine.hooks import Hook
from PIL import Image
from tiny_run import tiny_config
from torch.utils.data import Dataset

from mmsimclr.checkpoints import InputScale
from mmsimclr.config import build_runner
from mmsimclr.cpu_memory import SETTLED_BY, is_memory_kept, kept_memory
from mmsimclr.features import Embedder, extract_features, extract_to_files
from mmsimclr.models import ResNet
from mmsimclr.protocols import Protocol, run_benchmark
from mmsimclr.registry import PROTOCOLS

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
    """Says whether memory is kept while a run trains, and while an image of it is read."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.in_training = is_memory_kept()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        self.in_extraction = is_memory_kept()
        return dict(inputs=[torch.zeros(3, 16, 16, dtype=torch.uint8)], data_samples={})


@PROTOCOLS.register_module()
class WatchProtocol(Protocol):
    """Returns whether memory is kept where a protocol runs."""

    def run(self, benchmark):
        return is_memory_kept()


def test_training_feature_extraction_and_protocols_keep_it(tmp_path):
    runner, watch = build_runner(tiny_config(tmp_path)), Watch()
    runner.register_hook(watch)
    runner.train()
    assert watch.in_training and not is_memory_kept()
    extract_features(runner.model, watch)
    assert watch.in_extraction and not is_memory_kept()
    config = Config(dict(work_dir=str(tmp_path), protocol=dict(type='WatchProtocol')))
    assert run_benchmark(config, str(tmp_path / 'epoch_1.pth'), device='cpu') and not is_memory_kept()


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
