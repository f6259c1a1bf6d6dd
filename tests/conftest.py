"""Surroundings of every test: no display, few threads, and nothing left over from the test before."""

import os

os.environ.setdefault('MPLBACKEND', 'Agg')
# Also for the processes that tests start; two cores are shared by several of them.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MKL_NUM_THREADS', '1')
# Gloo asks for the address of the host's name, which a bare machine need not be able to resolve.
os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')

import gc
import logging
import signal
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmsimclr.cli.train import QUICKSTART as CONFIG
from mmsimclr.errors import MissingFileError
from mmsimclr.files import remote

ROOT = Path(__file__).parents[1]

# Folders whose tests start processes, or try many things.
SLOW_FOLDERS = ('distributed', 'e2e', 'gpu', 'hostile')

torch.set_num_threads(1)


def pytest_collection_finish(session):
    """Leave imported objects out of garbage collection, for which MMEngine asks at each dataset."""
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Mark the tests of whole folders as slow."""
    for item in items:
        if item.path.relative_to(ROOT / 'tests').parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope='session')
def root() -> Path:
    """Return the root of the checkout."""
    return ROOT


@pytest.fixture(scope='session')
def quickstart_config() -> Path:
    """Return the config of the quick start."""
    return ROOT / 'configs' / 'simclr' / f'{CONFIG}.py'


@pytest.fixture(autouse=True)
def fresh_mmengine():
    """Forget MMEngine's named singletons, so that no test sees the scope or the logger of another."""
    yield
    for singleton in (DefaultScope, MessageHub, MMLogger, Visualizer):
        for name, instance in singleton._instance_dict.items():
            if isinstance(instance, logging.Logger):
                for handler in list(instance.handlers):
                    instance.removeHandler(handler)
                    handler.close()
                logging.Logger.manager.loggerDict.pop(name, None)
        singleton._instance_dict.clear()
    os.environ.pop('CUBLAS_WORKSPACE_CONFIG', None)             # of a deterministic run


@pytest.fixture(autouse=True)
def same_signal_handlers():
    """Fail where a test leaves a handler behind: what later tests fork would not end when told to."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    assert after == before


@pytest.fixture
def stored(monkeypatch) -> dict[str, bytes]:
    """Return what all object stores hold, by address; processes that are forked later have it too."""
    files: dict[str, bytes] = {}

    def answer(function, address, name='', start=0, length=None):
        if function is remote._list:
            return [(place.removeprefix(f'{address}/'), len(data)) for place, data in files.items()
                    if place.startswith(f'{address}/')]
        if (data := files.get(f'{address}/{name}')) is None:
            raise MissingFileError(f'no file at {address}/{name}')
        return data[start:] if length is None else data[start:start + length]

    monkeypatch.setattr(remote, '_patiently', answer)
    return files
