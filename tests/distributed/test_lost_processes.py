"""tools/dist_train.sh when a process is killed, and on two machines of which one falls silent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import ROOT

pytestmark = pytest.mark.timeout(500)                        # starts up to six interpreters

OPTIONS = [
    'model.backbone.base_channels=4', 'model.neck.in_channels=32', 'model.neck.hid_channels=16',
    'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'train_dataloader.dataset.num_images=40',
    'custom_hooks.2.bank.num_images=12', 'custom_hooks.2.queries.num_images=6',
    'custom_hooks.3.num_images=16', 'custom_hooks.3.held_out.num_images=16', 'param_scheduler.0.warmup=0',
    'default_hooks.checkpoint.interval=1', 'default_hooks.logger.interval=1']


def dist_train(config, processes: int, work_dir: Path, epochs: int, before=(), timeout: int = 60,
               **environment) -> subprocess.Popen:
    """Start the script; its output goes to WORK_DIR.log."""
    command = [*before, 'bash', str(ROOT / 'tools' / 'dist_train.sh'), str(config), str(processes),
               '--work-dir', str(work_dir), '--cfg-options', *OPTIONS, f'train_cfg.max_epochs={epochs}',
               f'param_scheduler.0.total={epochs}', f'env_cfg.dist_cfg.timeout={timeout}']
    with open(f'{work_dir}.log', 'w') as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env={
            **os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', **environment})


def log(work_dir: Path) -> str:
    return Path(f'{work_dir}.log').read_text(encoding='utf-8')


def wait_for(happened, process, work_dir, timeout_s: float = 200) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, log(work_dir)[-3000:]
        time.sleep(0.05)


def end(process) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def workers(work_dir: Path) -> dict[int, int]:
    """Return the process ids of the ranks that train into a folder."""
    found = {}
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            words = (folder / 'cmdline').read_bytes().split(b'\0')
            variables = dict(entry.split(b'=', 1) for entry in (folder / 'environ').read_bytes().split(b'\0')
                             if b'=' in entry)
        except OSError:
            continue
        if str(work_dir).encode() in words and b'RANK' in variables:
            found[int(variables[b'RANK'])] = int(folder.name)
    return found


def test_a_killed_worker_is_replaced_and_the_run_goes_on(tmp_path, quickstart_config):
    work_dir = tmp_path / 'run'
    process = dist_train(quickstart_config, 2, work_dir, 8, MAX_RESTARTS='3')
    try:
        wait_for((work_dir / 'epoch_2.pth.json').is_file, process, work_dir)
        os.kill(workers(work_dir)[1], signal.SIGKILL)
        assert process.wait(250) == 0, log(work_dir)[-3000:]
    finally:
        end(process)
    text = log(work_dir)
    assert 'process 0 of 2 stopped at iteration' in text
    assert 'resuming from the newest intact checkpoint' in text and text.count('epoch 1/8  step 1/5') == 1
    assert torch.load(work_dir / 'epoch_8.pth', weights_only=False)['meta']['iter'] == 40


@pytest.fixture
def two_hosts():
    """Yield the commands that run something on two hosts: network namespaces joined by a cable."""
    names = [f'simclr{os.getpid()}{letter}' for letter in 'ab']
    cable = [f'v{os.getpid()}{letter}' for letter in 'ab']

    def ip(*words, check=True):
        return subprocess.run(['ip', *words], check=check, capture_output=True)

    try:
        ip('netns', 'add', names[0])
        ip('netns', 'add', names[1])
        ip('link', 'add', cable[0], 'type', 'veth', 'peer', 'name', cable[1])
        for number, (name, end_of_cable) in enumerate(zip(names, cable, strict=True), start=1):
            ip('link', 'set', end_of_cable, 'netns', name, 'name', 'net0')
            ip('-n', name, 'addr', 'add', f'10.213.0.{number}/24', 'dev', 'net0')
            ip('-n', name, 'link', 'set', 'net0', 'up')
            ip('-n', name, 'link', 'set', 'lo', 'up')
    except (OSError, subprocess.CalledProcessError) as error:
        for name in names:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True, check=False)
        pytest.skip(f'no network namespaces here: {error}')
    yield [['ip', 'netns', 'exec', name] for name in names]
    for name in names:
        ip('netns', 'del', name)


def on_both(hosts, config, folder, epochs: int, timeout: int) -> list[subprocess.Popen]:
    return [dist_train(config, 1, folder / f'host{rank}', epochs, host, timeout, NNODES='2',
                       NODE_RANK=str(rank), MASTER_ADDR='10.213.0.1', PORT='29517', GLOO_SOCKET_IFNAME='net0')
            for rank, host in enumerate(hosts)]


def test_two_machines_train_one_model(two_hosts, tmp_path, quickstart_config):
    processes = on_both(two_hosts, quickstart_config, tmp_path, 1, 60)
    try:
        assert [process.wait(250) for process in processes] == [0, 0], log(tmp_path / 'host0')[-3000:]
    finally:
        for process in processes:
            end(process)
    assert 'global batch   8 = 4 on each of 2 processes' in log(tmp_path / 'host0')
    assert (tmp_path / 'host0' / 'epoch_1.pth').is_file() and not list(tmp_path.glob('host1/*.pth'))


def test_a_machine_that_falls_silent_ends_the_job_on_the_other(two_hosts, tmp_path, quickstart_config):
    processes = on_both(two_hosts, quickstart_config, tmp_path, 1000, 10)
    try:
        wait_for((tmp_path / 'host0' / 'epoch_2.pth.json').is_file, processes[0], tmp_path / 'host0')
        subprocess.run([*two_hosts[1], 'ip', 'link', 'set', 'net0', 'down'], check=True)
        silent_since = time.monotonic()
        assert processes[0].wait(100) == 1
        assert time.monotonic() - silent_since < 60          # a timeout of 10 s, and torchrun's own end
    finally:
        for process in processes:
            end(process)
    error, = (line for line in log(tmp_path / 'host0').splitlines() if line.startswith('error: '))
    assert 'process 0 of 2 stopped at iteration' in error
    assert 'sent nothing for 10 s (env_cfg.dist_cfg.timeout)' in error
    assert 'The last whole checkpoint is' in error
