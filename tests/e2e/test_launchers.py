"""The shell scripts: two CPU processes through torchrun, and what Slurm is asked for."""

import os
import subprocess
import sys

import pytest
import torch
from processes import ROOT

SLURM = '#!/bin/sh\nprintf "%s\\n" "$@"\n'


def run(script: str, *args: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(ROOT / 'tools' / script), *map(str, args)], capture_output=True, text=True, timeout=150,
        env={**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', **environment})


def test_dist_train_trains_on_two_cpu_processes(tmp_path, quickstart_config, tiny):
    done = run('dist_train.sh', quickstart_config, 2, '--work-dir', tmp_path / 'run',
               *tiny(1, train_dataloader__batch_size=4))
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert 'global batch   8 = 4 on each of 2 processes' in log
    assert '14 negatives per anchor' in log
    assert 'step 5/5' in log                                # 40 images, 8 a step
    assert log.count('epoch 1: k-NN accuracy') == 1         # one process speaks
    checkpoint = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)
    assert not any(name.startswith('module.') for name in checkpoint['state_dict'])


def test_dist_train_passes_the_rendezvous_of_several_machines(tmp_path):
    fake = tmp_path / 'python'
    fake.write_text(SLURM)
    fake.chmod(0o755)
    done = run('dist_train.sh', 'config.py', 8, '--amp', 'bf16', PYTHON=str(fake), NNODES='4', NODE_RANK='3',
               MASTER_ADDR='10.0.0.1', PORT='1234')
    assert done.stdout.splitlines() == [
        '-m', 'torch.distributed.run', '--nnodes', '4', '--node-rank', '3', '--master-addr', '10.0.0.1',
        '--master-port', '1234', '--nproc-per-node', '8', '--max-restarts', '0', '--signals-to-handle',
        'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1', str(ROOT / 'tools' / 'train.py'), 'config.py',
        '--amp', 'bf16', '--launcher', 'pytorch']


def test_dist_train_on_several_machines_asks_for_what_is_missing():
    for environment, missing in ((dict(NODE_RANK='', MASTER_ADDR='10.0.0.1'), 'NODE_RANK'),
                                 (dict(NODE_RANK='0', MASTER_ADDR=''), 'MASTER_ADDR')):
        done = run('dist_train.sh', 'config.py', 8, NNODES='2', **environment)
        assert done.returncode != 0 and f'{missing}: set it to' in done.stderr


def test_slurm_train_asks_for_what_the_environment_says(tmp_path):
    fake = tmp_path / 'srun'
    fake.write_text(SLURM)
    fake.chmod(0o755)
    done = run('slurm_train.sh', 'gpu', 'a job', 'config.py', '--cfg-options', 'randomness.seed=3',
               PYTHON='python3', PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}', GPUS='16',
               GPUS_PER_NODE='4', CPUS_PER_TASK='9', SRUN_ARGS='--time 60 --quiet')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        '--partition', 'gpu', '--job-name', 'a job', '--gres', 'gpu:4', '--ntasks', '16',
        '--ntasks-per-node', '4', '--cpus-per-task', '9', '--kill-on-bad-exit=1', '--signal', 'USR1@120',
        '--time', '60', '--quiet',
        'python3', '-u', str(ROOT / 'tools' / 'train.py'), 'config.py', '--launcher', 'slurm',
        '--cfg-options', 'randomness.seed=3']


def test_slurm_train_asks_for_no_more_gpus_a_node_than_there_are_processes(tmp_path):
    fake = tmp_path / 'srun'
    fake.write_text(SLURM)
    fake.chmod(0o755)
    done = run('slurm_train.sh', 'gpu', 'job', 'config.py', GPUS='2',
               PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    arguments = done.stdout.splitlines()
    assert arguments[arguments.index('--gres') + 1] == 'gpu:2'
    assert arguments[arguments.index('--ntasks-per-node') + 1] == '2'


@pytest.mark.parametrize('script, usage', [
    ('dist_train.sh', 'tools/dist_train.sh CONFIG GPUS'),
    ('slurm_train.sh', 'tools/slurm_train.sh PARTITION JOB CONFIG')])
def test_without_arguments_the_usage_is_shown(script, usage):
    done = run(script, 'one')
    assert done.returncode == 2
    assert usage in done.stderr
