"""Disks that fail, processes that die, numbers that explode: one line, status 1, nothing lost."""

import errno
import itertools
import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
from killable_runs import log, start, wait_until

from mmsimclr.datasets import Shapes
from mmsimclr.engine import LARS
from mmsimclr.runner import newest_checkpoint

EPOCHS = 3
KEEP_ALL = {'default_hooks.checkpoint.max_keep_ckpts': -1}


@pytest.fixture
def disk(tmp_path):
    """Yield the folder of a file system of 3 MiB, enough for the log and a few checkpoints."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', str(folder)],
                      capture_output=True).returncode:
        pytest.skip('only root may mount a file system')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def ends(process, work_dir, said: str, status: int = 1) -> str:
    """Check how a run ended; return what it printed last."""
    process.join(150)
    text = log(work_dir)
    assert process.exitcode == status, text[-3000:]
    assert 'Traceback' not in text, text[text.index('Traceback'):]
    last = text.strip().splitlines()[-1]
    assert said in last, last
    return last


def resumes(work_dir, epochs: int = EPOCHS) -> None:
    """The last good checkpoint is intact, is what the message names, and the run goes on from it."""
    newest = newest_checkpoint(work_dir)
    assert newest.path and not newest.damaged
    printed = len(log(work_dir))
    process = start(work_dir, epochs)
    process.join(150)
    assert process.exitcode == 0 and f'the newest intact checkpoint, {newest.path}' in log(work_dir)[printed:]


def saved(work_dir, iteration: int = 2) -> bool:
    return any((work_dir / f'iter_{number}.pth').is_file() for number in (iteration + 1, iteration + 2))


def test_a_disk_that_fills_up(disk, tmp_path):
    (tmp_path / 'run').symlink_to(disk)
    process = start(tmp_path / 'run', 20, **KEEP_ALL)
    last = ends(process, tmp_path / 'run', 'could not be written (No space left on device)')
    newest = newest_checkpoint(disk)
    assert f'The last whole checkpoint is {tmp_path}/run/{newest.path.name}; --resume goes on' in last
    assert torch.load(newest.path, weights_only=False)['meta']['iter'] == newest.iteration > 1
    assert not newest.damaged and not list(disk.glob('.*.tmp'))


def test_a_disk_that_is_read_only(disk, tmp_path):
    subprocess.run(['mount', '-o', 'remount,ro', str(disk)], check=True)
    (tmp_path / 'run').symlink_to(disk)
    ends(start(tmp_path / 'run', EPOCHS), tmp_path / 'run', 'error: [Errno 30] Read-only file system')


def test_a_disk_that_turns_read_only(tmp_path):
    process = start(tmp_path / 'run', EPOCHS, prepare=partial(_break, 'disk'))
    last = ends(process, tmp_path / 'run', 'iter_3.pth could not be written (Read-only file system)')
    assert f'The last whole checkpoint is {tmp_path}/run/iter_2.pth; --resume goes on from it' in last
    resumes(tmp_path / 'run')


def test_a_work_dir_that_vanishes_is_not_made_again(tmp_path):
    process = start(tmp_path / 'run', 20)
    assert wait_until(lambda: saved(tmp_path / 'run'), process)
    (tmp_path / 'run').rename(tmp_path / 'gone')
    ends(process, tmp_path / 'run', str(tmp_path / 'run'))
    assert not list(tmp_path.glob('run/*.pth*'))
    assert newest_checkpoint(tmp_path / 'gone').path
    shutil.rmtree(tmp_path / 'gone')


def test_ctrl_c(tmp_path):
    process = start(tmp_path / 'run', 20)
    assert wait_until(lambda: saved(tmp_path / 'run'), process)
    os.kill(process.pid, signal.SIGINT)
    ends(process, tmp_path / 'run', 'interrupted', 130)
    resumes(tmp_path / 'run', 20)


def test_a_loader_process_that_is_killed(tmp_path):
    """As the kernel does it that runs out of memory."""
    process = start(tmp_path / 'run', 100, **{'train_dataloader.num_workers': 1})
    assert wait_until(lambda: saved(tmp_path / 'run'), process)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    # The signal of its end, or the connection to it that broke, comes first.
    last = ends(process, tmp_path / 'run', 'that loads images')
    assert 'killed' in last.lower() and 'lower train_dataloader.num_workers' in last
    assert 'The last whole checkpoint is' in last


def _break(what: str) -> None:
    """Have something go wrong in this process: the third step, the thirtieth image, or the third save."""
    owner, name, at = dict(gradient=(LARS, 'step', 3), memory=(Shapes, '__getitem__', 30),
                           disk=(torch, 'save', 3))[what]
    function, calls = getattr(owner, name), itertools.count(1)

    def broken(self, *args, **kwargs):
        if next(calls) == at:
            if what == 'gradient':
                self.param_groups[0]['params'][0].grad[0] = float('inf')
            else:
                raise MemoryError if what == 'memory' else OSError(errno.EROFS, 'Read-only file system')
        return function(self, *args, **kwargs)

    setattr(owner, name, broken)


def test_a_gradient_that_is_not_finite(tmp_path):
    process = start(tmp_path / 'run', EPOCHS, prepare=partial(_break, 'gradient'))
    last = ends(process, tmp_path / 'run', 'is not finite after iteration 3: stopped')
    assert f'The last good checkpoint is {tmp_path}/run/iter_2.pth' in last
    resumes(tmp_path / 'run')


@pytest.mark.parametrize('num_workers', [0, 1])
def test_memory_that_runs_out(num_workers, tmp_path):
    process = start(tmp_path / 'run', EPOCHS, prepare=partial(_break, 'memory'),
                    **{'train_dataloader.num_workers': num_workers})
    ends(process, tmp_path / 'run', 'memory ran out: lower train_dataloader.num_workers')
    resumes(tmp_path / 'run')
