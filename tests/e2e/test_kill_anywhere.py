"""A run that is killed again and again, at any moment, ends in the bits of one that was not."""

import itertools
import os
import random
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from killable_runs import STEPS_PER_EPOCH, assert_identical, log, start, state, steps, wait_until

from mmsimclr.runner import checkpointing as manifest

EPOCHS = 16
KILLS = 20
# Two processes start anew after each; MMSIMCLR_KILLS_OF_RANKS=20 takes some minutes.
KILLS_OF_RANKS = int(os.environ.get('MMSIMCLR_KILLS_OF_RANKS', 5))


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('uninterrupted') / 'run'
    process = start(work_dir, EPOCHS)
    process.join(150)
    assert process.exitcode == 0, log(work_dir)
    return state(work_dir / f'iter_{EPOCHS * STEPS_PER_EPOCH}.pth')


def test_the_bits_change_in_every_step(uninterrupted):
    assert len(set(uninterrupted['losses'].tolist())) == EPOCHS * STEPS_PER_EPOCH


def _kill_soon(process, work_dir, moments):
    """Kill it after some steps: between them, in one, or while one is being saved; whether it was."""
    due = steps(work_dir) + moments.randrange(1, 4)
    training = wait_until(lambda: steps(work_dir) >= due, process)
    process.join(moments.uniform(0, 0.05))
    if training and process.is_alive():
        process.kill()
        return True
    return False


def test_twenty_kills_at_random_moments_change_no_bit(uninterrupted, tmp_path):
    work_dir, moments, kills = tmp_path / 'run', random.Random(0), 0
    while True:
        process = start(work_dir, EPOCHS)
        if kills < KILLS:
            kills += _kill_soon(process, work_dir, moments)
        process.join(150)
        if process.exitcode == 0:
            break
        assert process.exitcode == -9, log(work_dir)
    assert kills >= KILLS, f'it was through after {kills} kills'
    text = log(work_dir)
    assert text.count('resuming from the newest intact checkpoint') >= KILLS / 2
    assert 'steps are done and passed over' in text
    assert_identical(state(work_dir / f'iter_{EPOCHS * STEPS_PER_EPOCH}.pth'), uninterrupted)


CALLS = {'atomic_writer': manifest, 'fsync': os, 'replace': os, 'unlink': Path}


def _die_at(name: str, call: int) -> None:
    """Have the process killed when it makes a call that a save makes for the so-and-so-many-th time."""
    function, calls = getattr(CALLS[name], name), itertools.count(1)

    def mortal(*args, **kwargs):
        result = function(*args, **kwargs) if name == 'atomic_writer' else None
        if next(calls) == call:
            if result:                                      # half of what is to be written is on the disk
                result.__enter__().raw.write(b'half')
            os.kill(os.getpid(), signal.SIGKILL)
        return result or function(*args, **kwargs)

    setattr(CALLS[name], name, mortal)


def test_kills_inside_a_save_leave_something_to_resume_and_nothing_half_written(tmp_path):
    epochs, moments = 4, random.Random(1)
    whole = start(tmp_path / 'whole', epochs)
    work_dir, kills = tmp_path / 'run', 0
    while True:
        # In one of the first saves, each of which makes a few calls of every kind.
        name = 'atomic_writer' if kills % 3 == 0 else moments.choice(['fsync', 'replace', 'unlink'])
        call = moments.randrange(1, 9 if name == 'atomic_writer' else 16)
        process = start(work_dir, epochs, prepare=partial(_die_at, name, call) if kills < 10 else None)
        process.join(150)
        if process.exitcode == 0:
            break
        assert process.exitcode == -9, log(work_dir)
        kills += 1
        assert kills <= 12
        checkpoints = {path.name for path in work_dir.glob('*.pth')}
        last = work_dir / 'last_checkpoint'
        assert not last.exists() or Path(last.read_text()).name in checkpoints
        for path in work_dir.glob('*.pth'):
            torch.load(path, weights_only=False)             # whole, with a manifest or without
    assert kills == 10
    assert not list(work_dir.glob('.*.tmp')) and len(list(work_dir.glob('*.pth'))) == 2
    whole.join(150)
    name = f'iter_{epochs * STEPS_PER_EPOCH}.pth'
    assert_identical(state(work_dir / name), state(tmp_path / 'whole' / name))


def test_two_ranks_killed_one_at_a_time_end_in_the_same_bits(tmp_path):
    epochs, moments, kills, attempt = KILLS_OF_RANKS + 1, random.Random(2), 0, 0
    whole = _ranks(tmp_path / 'whole', epochs, tmp_path / 'rendezvous')
    work_dir = tmp_path / 'run'
    for process in whole:
        process.join(150)
    while True:
        attempt += 1
        processes = _ranks(work_dir, epochs, tmp_path / f'rendezvous{attempt}')
        if kills < KILLS_OF_RANKS:
            kills += _kill_soon(processes[moments.randrange(2)], work_dir, moments)
        for process in processes:
            process.join(150)
        codes = [process.exitcode for process in processes]
        if codes == [0, 0]:
            break
        assert sorted(codes) in ([-9, 0], [-9, 1]), log(work_dir, 0) + log(work_dir, 1)
    assert kills == KILLS_OF_RANKS
    name = f'iter_{epochs * STEPS_PER_EPOCH}.pth'
    got = state(work_dir / name)
    assert_identical(got, state(tmp_path / 'whole' / name))
    assert len(got['torch_generators']) == 2
    text = log(work_dir, 0) + log(work_dir, 1)
    assert 'of 2 stopped at iteration' in text and 'Traceback' not in text


def _ranks(work_dir, epochs, rendezvous):
    return [start(work_dir, epochs, rank, 2, rendezvous) for rank in range(2)]
