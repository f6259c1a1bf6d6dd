"""A scheduler's signal: the iteration is finished, one checkpoint saved, status 75; then the run goes on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from killable_runs import STEPS_PER_EPOCH, assert_identical, log, start, state, steps, wait_until
from processes import ROOT

EPOCHS = 4
# By epochs, so that what the signal saves lies inside one.
BY_EPOCH = {'default_hooks.checkpoint': dict(by_epoch=True, max_keep_ckpts=1)}
LAST = f'epoch_{EPOCHS}.pth'


def begin(work_dir, world_size: int = 1, **changes):
    rendezvous = Path(f'{work_dir}.{time.time_ns()}')
    return [start(work_dir, EPOCHS, rank, world_size, rendezvous, **BY_EPOCH, **changes)
            for rank in range(world_size)]


def ended(processes, timeout_s: float = 150) -> list[int]:
    for process in processes:
        process.join(timeout_s)
    return [process.exitcode for process in processes]


@pytest.mark.parametrize('world_size, name, num_workers', [
    (1, 'SIGTERM', 0), (1, 'SIGUSR1', 1), (2, 'SIGUSR1', 0)])
def test_a_signal_saves_and_the_resumed_run_ends_in_the_same_bits(world_size, name, num_workers, tmp_path):
    changes = {'train_dataloader.num_workers': num_workers}
    assert ended(begin(tmp_path / 'whole', world_size, **changes)) == [0] * world_size
    work_dir = tmp_path / 'run'
    processes = begin(work_dir, world_size, **changes)
    assert wait_until(lambda: steps(work_dir) >= STEPS_PER_EPOCH + 1, processes[0])
    # Only the last rank is told; with its loader processes, as Slurm does it.
    os.killpg(processes[-1].pid, signal.Signals[name])
    assert ended(processes) == [75] * world_size, log(work_dir)
    text = log(work_dir)
    assert 'Traceback' not in text and f'{name}: stopped after iteration' in text
    interrupted = torch.load(work_dir / 'interrupted.pth', weights_only=False)['meta']
    assert STEPS_PER_EPOCH < interrupted['iter'] < EPOCHS * STEPS_PER_EPOCH
    assert interrupted['iter'] == steps(work_dir), 'no step was lost, and none was made after it'

    assert ended(begin(work_dir, world_size, **changes)) == [0] * world_size, log(work_dir)
    assert f'the newest intact checkpoint, {work_dir}/interrupted.pth' in log(work_dir)
    assert_identical(state(work_dir / LAST), state(tmp_path / 'whole' / LAST))
    assert sorted(path.name for path in work_dir.glob('*.pth*')) == [LAST, f'{LAST}.json']


SRUN = '''#!/bin/sh
# Calls the tool's stand-in, which ends with the next of some statuses.
echo "srun restart=${SLURM_RESTART_COUNT:-0} $*" >> "$LOG"
read status < "$STATUSES"
sed -i 1d "$STATUSES"
exit "$status"
'''
SCONTROL = '#!/bin/sh\necho "scontrol $*" >> "$LOG"\nexit "${SCONTROL_STATUS:-0}"\n'


def slurm(folder, statuses, script=ROOT / 'tools/slurm_train.sh', **environment):
    for name, text in (('srun', SRUN), ('scontrol', SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / 'statuses').write_text('\n'.join(map(str, statuses)) + '\n')
    done = subprocess.run(
        ['bash', str(script), 'gpu', 'job', 'config.py', 'random'], capture_output=True,
        text=True, timeout=30, env={
            **os.environ, 'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}', 'NOTICE': '60',
            'LOG': str(folder / 'calls'), 'STATUSES': str(folder / 'statuses'), **environment})
    return done, (folder / 'calls').read_text().splitlines()


def test_a_preempted_batch_job_puts_itself_back_into_the_queue(tmp_path):
    done, calls = slurm(tmp_path, [75], SLURM_JOB_ID='17')
    assert done.returncode == 75 and calls[1:] == ['scontrol requeue 17']
    assert '--signal USR1@60' in calls[0]


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_benchmark.sh'])
def test_sbatch_runs_a_copy_of_the_script_from_its_spool_folder(script, tmp_path):
    copy = tmp_path / 'slurm_script'
    copy.write_bytes((ROOT / 'tools' / script).read_bytes())
    done, calls = slurm(tmp_path, [0], copy, SLURM_JOB_ID='17', SLURM_SUBMIT_DIR=str(ROOT))
    tool = {'slurm_train.sh': 'train.py', 'slurm_benchmark.sh': 'benchmark.py'}[script]
    assert done.returncode == 0 and f'{ROOT}/tools/{tool} config.py' in calls[0], done.stderr


def test_a_batch_job_that_cannot_be_requeued_says_what_to_do(tmp_path):
    done, _ = slurm(tmp_path, [75], SLURM_JOB_ID='17', SCONTROL_STATUS='1')
    assert done.returncode == 75 and 'start it again with --resume' in done.stderr


def test_outside_a_batch_job_srun_is_called_until_the_run_is_through(tmp_path):
    done, calls = slurm(tmp_path, [75, 75, 0])
    assert done.returncode == 0
    assert [call.split()[:2] for call in calls] == [['srun', f'restart={n}'] for n in range(3)]


@pytest.mark.parametrize('status', [0, 1, 137])
def test_any_other_end_is_the_end(status, tmp_path):
    done, calls = slurm(tmp_path, [status, 0], SLURM_JOB_ID='17')
    assert done.returncode == status and len(calls) == 1
