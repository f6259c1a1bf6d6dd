"""A work directory belongs to one run at a time."""

import json
import multiprocessing
import os

import pytest
from mmengine.hooks import Hook
from processes import run_ranks
from refused_starts import refusal
from tiny_run import tiny_config, tiny_runner

from mmsimclr.config import check_config
from mmsimclr.files import HeldError, Lease, LostLeaseError
from mmsimclr.protocols import pretrain, run_benchmark
from mmsimclr.registry import HOOKS
from mmsimclr.runner import build_runner

CONTEXT = multiprocessing.get_context('fork')


def listing(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


@pytest.fixture
def held(tmp_path):
    """Yield a folder that another process works in."""
    folder, taken = tmp_path / 'run', CONTEXT.Event()

    def hold():
        with Lease.take(folder, label='training'):
            taken.set()
            CONTEXT.Event().wait(60)
    process = CONTEXT.Process(target=hold, daemon=True)
    process.start()
    assert taken.wait(20)
    yield folder
    process.kill()
    process.join()


@pytest.mark.parametrize('start', ['build', 'pretrain', 'benchmark'])
def test_a_second_run_is_refused_before_it_writes_anything(held, start):
    (held / '.epoch_1.pth.77.tmp').touch()                      # the other is just saving
    before = listing(held)
    config = tiny_config(held)
    check_config(config)
    with pytest.raises(HeldError, match=f'{held} is in use by process'):
        if start == 'build':
            build_runner(config)
        elif start == 'pretrain':
            pretrain(config, 'config.py', 'command')
        else:
            config.protocol = dict(type='KNN', train={}, test={})
            run_benchmark(config, 'nowhere.pth')
    assert listing(held) == before


def test_one_that_was_built_before_is_refused_when_it_trains(tmp_path):
    runner, taken = tiny_runner(tmp_path), CONTEXT.Event()
    process = CONTEXT.Process(target=lambda: (Lease.take(tmp_path) and taken.set() and None) or
                              CONTEXT.Event().wait(60), daemon=True)
    process.start()
    assert taken.wait(20)
    (tmp_path / '.epoch_1.pth.77.tmp').touch()
    with pytest.raises(HeldError):
        runner.train()
    assert (tmp_path / '.epoch_1.pth.77.tmp').exists() and not list(tmp_path.glob('*.pth'))
    process.kill()
    process.join()
    runner.train()                                              # the other is dead
    assert (tmp_path / 'epoch_1.pth').exists() and not (tmp_path / '.epoch_1.pth.77.tmp').exists()
    assert not (tmp_path / '.lease').exists()


@HOOKS.register_module(force=True)
class TakenOverForLeaseTest(Hook):
    """Has another machine take the folder over in the first epoch."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        lease = runner._lease.file
        record = json.loads(lease.read_bytes().split(b'\n')[0])
        lease.write_text(json.dumps({**record, 'token': 'a' * 32, 'machine': 'elsewhere'}) + '\n1\n')


def test_one_that_was_taken_over_saves_nothing_more(tmp_path):
    runner = tiny_runner(tmp_path, custom_hooks=[dict(type='TakenOverForLeaseTest')])
    with pytest.raises(LostLeaseError, match=f'another run has taken over {tmp_path}'):
        runner.train()
    assert not list(tmp_path.glob('*.pth*')) and not (tmp_path / 'last_checkpoint').exists()
    assert (tmp_path / '.lease').exists(), 'it is the lease of the other'


def test_runs_one_after_the_other_and_their_leftovers(tmp_path):
    tiny_runner(tmp_path).train()
    (tmp_path / '.epoch_2.pth.77.tmp').touch()
    tiny_runner(tmp_path, resume=True).train()
    assert not (tmp_path / '.epoch_2.pth.77.tmp').exists()
    assert not [name for name in os.listdir(tmp_path) if 'lease' in name]


def test_a_validation_removes_nothing(tmp_path):
    """It may look at the checkpoints of a run that is still going on."""
    runner = tiny_runner(tmp_path)
    (tmp_path / '.epoch_1.pth.77.tmp').touch()
    runner.load_or_resume()
    assert (tmp_path / '.epoch_1.pth.77.tmp').exists()


@pytest.mark.slow
def test_all_ranks_are_refused(tmp_path):
    with Lease.take(tmp_path / 'run' / '0', label='training'):
        before = listing(tmp_path / 'run')
        told = run_ranks(refusal, 2, str(tmp_path / 'run'), [{}], folder=tmp_path / 'ranks')
        assert listing(tmp_path / 'run') == before
    assert told[0] == told[1] and f'in use by process {os.getpid()} on' in told[0][0]
