"""Machines that come and go: two launchers on this one, of which the second joins a run and is killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import ROOT

pytestmark = pytest.mark.timeout(500)

OPTIONS = [
    'model.backbone.base_channels=4', 'model.neck.in_channels=32', 'model.neck.hid_channels=16',
    'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'train_dataloader.dataset.num_images=40',
    'train_cfg.max_epochs=100000', 'param_scheduler.0.total=100000', 'param_scheduler.0.warmup=0',
    'custom_hooks.2.bank.num_images=12', 'custom_hooks.2.queries.num_images=6',
    'custom_hooks.2.interval=100000', 'custom_hooks.3.interval=100000', 'custom_hooks.3.num_images=16',
    'custom_hooks.3.held_out.num_images=16', 'default_hooks.checkpoint.interval=5',
    'default_hooks.checkpoint.max_keep_ckpts=2', 'env_cfg.dist_cfg.timeout=60']


def launch(config, work_dir: Path, name: str, port: int) -> subprocess.Popen:
    """Start the launcher of a machine, which writes NAME.log."""
    command = ['bash', str(ROOT / 'tools' / 'dist_train.sh'), str(config), '1', '--work-dir', str(work_dir),
               '--no-pictures', '--cfg-options', *OPTIONS]
    with open(work_dir.parent / f'{name}.log', 'w') as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env={
            **os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', 'NNODES': '1:2',
            'MASTER_ADDR': '127.0.0.1', 'LOCAL_ADDR': '127.0.0.1', 'PORT': str(port), 'LAST_CALL': '1'})


def children(process: int) -> list[int]:
    """Return the processes that one has started, and those that they have."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            if int((folder / 'stat').read_text().rpartition(')')[2].split()[1]) == process:
                found += [int(folder.name), *children(int(folder.name))]
    return found


def of_run(work_dir: Path) -> list[str]:
    """Return what the log files of all starts say, the oldest first."""
    return [path.read_text(encoding='utf-8') for path in sorted(work_dir.glob('*/*.log'))]


def wait_for(happened, process: subprocess.Popen, log: Path, timeout_s: float = 200) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.1)


def test_a_run_goes_on_when_a_machine_comes_and_when_it_goes(tmp_path, quickstart_config):
    work_dir, log = tmp_path / 'run', tmp_path / 'first.log'
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    processes = [launch(quickstart_config, work_dir, 'first', port)]
    try:
        wait_for(lambda: list(work_dir.glob('epoch_*.pth.json')), processes[0], log)
        processes.append(launch(quickstart_config, work_dir, 'second', port))
        shared = 'global batch   8 = 4 on each of 2 processes'
        wait_for(lambda: shared in log.read_text() + (tmp_path / 'second.log').read_text(), processes[0], log)
        both = len(list(work_dir.glob('*/*.log')))
        wait_for(lambda: 'step' in of_run(work_dir)[-1], processes[0], log)
        for process in [processes[1].pid, *children(processes[1].pid)]:       # a machine takes all with it
            os.kill(process, signal.SIGKILL)
        wait_for(lambda: len(list(work_dir.glob('*/*.log'))) > both and ' step ' in of_run(work_dir)[-1],
                 processes[0], log)
        os.kill(processes[0].pid, signal.SIGTERM)
        processes[0].wait(100)
    finally:
        for process in processes:
            for own in children(process.pid):
                os.kill(own, signal.SIGKILL)
            if process.poll() is None:
                process.kill()
            process.wait()
    first, *_, last = of_run(work_dir)
    assert 'global batch   8:' in first and 'global batch   8:' in last        # alone, with the same batch
    assert 'was saved by 2 process(es), and there are 1: weights, optimizer' in last or (
        'was saved by 1 process(es), and there are 1' not in last and 'resuming from' in last)
    newest = max(work_dir.glob('*.pth'), key=lambda path: path.stat().st_mtime)
    tree = torch.load(newest, weights_only=False)
    losses = tree['message_hub']['log_scalars']['train/loss']._log_history
    assert len(losses) == tree['meta']['iter'] and np.isfinite(losses).all()   # no step is missing or twice
    assert len({tree['meta']['run_id']}) == 1 and tree['meta']['run']['global_batch'] == 8
