"""Memory of large tensors: kept within the context, and only there."""

import ctypes
import os
import subprocess
import sys
from contextlib import nullcontext

import cpu_memory_cases
import pytest
import torch
from mmengine.hooks import Hook
from tiny_run import tiny_config
from torch.utils.data import Dataset

from mmsimclr import cpu_memory
from mmsimclr.cpu_memory import is_memory_kept, kept_memory
from mmsimclr.features import extract_features
from mmsimclr.runner import build_runner

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith('linux') or not hasattr(ctypes.CDLL(None), 'gnu_get_libc_version')
    or any(name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES' for name in os.environ),
    reason='needs glibc, and no MALLOC_* or GLIBC_TUNABLES in the environment')


@pytest.mark.slow
def test_what_malloc_does_in_a_new_process():
    """What it does depends on all that a process did before, so each case is a fork of a new one."""
    done = subprocess.run([sys.executable, cpu_memory_cases.__file__], text=True, capture_output=True,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'}, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('error', [None, KeyError])
def test_the_outer_of_two_ends_it(error):
    with pytest.raises(error) if error else nullcontext(), kept_memory() as is_kept:
        with kept_memory('cpu:0', large_blocks=False):
            pass
        assert is_kept and is_memory_kept()
        if error:
            raise error
    assert not is_memory_kept()


@pytest.mark.parametrize('device', ['cuda:1', torch.device('cuda', 0), 'meta'])
def test_another_device_needs_none(device):
    with kept_memory(device) as is_kept:
        assert not is_kept


def test_the_environment_switches_it_off(monkeypatch):
    monkeypatch.setenv('MMSIMCLR_KEEP_MEMORY', '0')
    with kept_memory() as is_kept:
        assert not is_kept and not is_memory_kept()


@pytest.mark.parametrize('library', [object(), None])
def test_other_c_libraries_are_left_alone(library, monkeypatch):
    monkeypatch.setattr(cpu_memory, '_library', library)
    with kept_memory() as is_kept:
        assert not is_kept


class Watch(Hook, Dataset):
    """Says whether memory is kept in each step of a run, and while an image of it is read."""

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self.in_steps = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.in_steps.append(dict(cpu_memory._users))
        if runner.iter == 3:
            raise KeyError

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        self.in_extraction = is_memory_kept()
        return dict(inputs=[torch.zeros(3, 16, 16, dtype=torch.uint8)], data_samples={})


def test_training_keeps_the_heap_until_it_ends_or_fails(tmp_path):
    runner = build_runner(tiny_config(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=2)))
    watch = Watch()
    runner.register_hook(watch)
    with pytest.raises(KeyError):
        runner.train()
    assert [users['heap'] for users in watch.in_steps] == [1] * 4 and not is_memory_kept()
    assert not any(users.get('all') for users in watch.in_steps)


def test_feature_extraction_keeps_it(tmp_path):
    watch = Watch()
    extract_features(build_runner(tiny_config(tmp_path)).model, watch)
    assert watch.in_extraction and not is_memory_kept()
