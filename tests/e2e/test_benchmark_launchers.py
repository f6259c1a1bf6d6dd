"""The shell scripts that measure on several processes: what they start, and one real run on two."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from processes import ROOT
from tiny_probe import save_encoder

ECHO = '#!/bin/sh\nprintf "%s\\n" "$@"\n'
CONFIG = 'configs/benchmarks/classification/semi-10pct_1xb32-coslr-20e_shapes.py'
TOOL = str(ROOT / 'tools' / 'benchmark.py')


def run(script: str, *args: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(ROOT / 'tools' / script), *map(str, args)], capture_output=True, text=True, timeout=200,
        env={**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', **environment})


def fake(folder, name: str):
    path = folder / name
    path.write_text(ECHO)
    path.chmod(0o755)
    return path


def test_dist_benchmark_measures_on_two_cpu_processes(tmp_path):
    done = run('dist_benchmark.sh', ROOT / CONFIG, save_encoder(tmp_path), 2, '--work-dir', tmp_path / 'run',
               '--cfg-options', 'dataset_name=Two words', 'train_cfg.max_epochs=1',
               'train_dataloader.batch_size=16', 'train_dataloader.num_workers=0',
               'test_dataloader.num_workers=0', 'train_dataloader.dataset.dataset.num_images=400',
               'test_dataloader.dataset.num_images=41',
               'train_dataloader.persistent_workers=False')
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / 'run' / 'result.json').read_text())
    assert result['settings']['ranks'] == 2 and result['settings']['global_batch'] == 32
    assert result['num_images'] == dict(train=40, test=41)
    command = shlex.split(result['command'])
    assert [Path(word).name for word in command[:4]] == ['bash', 'dist_run.sh', '2', 'benchmark.py']
    assert 'dataset_name=Two words' in command, 'it can be repeated as it is'
    assert done.stdout.count('top_1_accuracy_percent') == 1, 'one process speaks'


def test_dist_benchmark_hands_its_arguments_on(tmp_path):
    python = str(fake(tmp_path, 'python'))
    for checkpoint, expected in (('zoo_name', ['zoo_name']), ('random', ['--init', 'random'])):
        done = run('dist_benchmark.sh', 'a config.py', checkpoint, 8, '--device', 'cuda', PYTHON=python)
        assert done.stdout.splitlines() == [
            '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '8', '--max-restarts', '0',
            '--signals-to-handle', 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1', TOOL, 'a config.py', *expected,
            '--device', 'cuda', '--launcher', 'pytorch']


def test_slurm_benchmark_asks_for_what_the_environment_says(tmp_path):
    fake(tmp_path, 'srun')
    for checkpoint, expected in (('encoder.pth', ['encoder.pth']), ('random', ['--init', 'random'])):
        done = run('slurm_benchmark.sh', 'gpu', 'a job', 'config.py', checkpoint, '--resume',
                   PYTHON='python3', PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}', GPUS='16',
                   GPUS_PER_NODE='4', SRUN_ARGS='--time 60')
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            '--partition', 'gpu', '--job-name', 'a job', '--gres', 'gpu:4', '--ntasks', '16',
            '--ntasks-per-node', '4', '--cpus-per-task', '9', '--kill-on-bad-exit=1', '--signal', 'USR1@120',
            '--time', '60', 'python3', '-u', TOOL, 'config.py', *expected, '--launcher', 'slurm', '--resume']


def test_without_arguments_the_scripts_say_how_they_are_called():
    for script in ('dist_benchmark.sh', 'slurm_benchmark.sh'):
        done = run(script, 'config.py')
        assert done.returncode == 2 and f'tools/{script} ' in done.stderr and 'set -' not in done.stderr
