import math
import multiprocessing
import os
import signal
import time

import pytest
import torch
from mmengine.hooks import Hook
from tiny_run import tiny_runner

from mmsimclr.engine import PREEMPTED, Preempted, PreemptionHook
from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class SignalForHookTest(Hook):
    """Send this process a signal during an iteration, or raise; ruin a weight in it."""

    def __init__(self, iteration: int, number: int = signal.SIGTERM, error: bool = False, ruin: bool = False,
                 times: int = 1):
        self.times = times
        self.iteration, self.number, self.error, self.ruin = iteration, number, error, ruin

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.ruin and runner.iter + 1 == self.iteration:
            with torch.no_grad():
                runner.model.neck.fc0.weight[0, 0] = math.nan

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            if self.error:
                raise ValueError('stop here')
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@HOOKS.register_module()
class EpochsForHookTest(Hook):
    """Note the epochs that end, before the checkpoint is written."""

    def after_train_epoch(self, runner):
        known = runner.message_hub.runtime_info.get('epochs_ended', [])
        runner.message_hub.update_info('epochs_ended', [*known, runner.epoch + 1])


def runner(work_dir, at: int, accumulated: int = 1, error: bool = False, resume: bool = False,
           experiment_name: str = 'run', **changes):
    wrapper = dict(optimizer=dict(type='LARS', lr=0.1), accumulative_counts=accumulated)
    hooks = [dict(type='PreemptionHook'), dict(type='FiniteLossHook', interval=100),
             dict(type='EpochsForHookTest'),
             dict(type='SignalForHookTest', iteration=at, error=error, **changes)]
    run = tiny_runner(work_dir, train_cfg=dict(by_epoch=True, max_epochs=3), optim_wrapper=wrapper,
                      custom_hooks=hooks, resume=resume,
                      experiment_name=f'{experiment_name}-{"-".join(work_dir.parts[-2:])}')
    run.allowed_changes = ['custom_hooks']                   # the signal comes elsewhere, or not at all
    return run


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize('at', [1, 2])
def test_the_iteration_is_finished_and_saved(at, number, tmp_path):
    run = runner(tmp_path, at, number=number)
    with pytest.raises(Preempted) as caught:
        run.train()
    assert caught.value.code == PREEMPTED == 75
    assert run.message_hub.get_info('last_ckpt') == f'{tmp_path}/interrupted.pth'
    assert run.message_hub.get_scalar('train/loss').data[0].size == at
    assert (tmp_path / 'interrupted.pth').is_file() and (tmp_path / 'interrupted.pth.json').is_file()


@pytest.mark.parametrize('at', [1, 2, 3, 4, 5])
def test_a_run_stopped_after_any_iteration_goes_on_in_the_same_bits(at, tmp_path):
    """Two iterations are an epoch: what comes after one is done by the resumed run, and once."""
    whole = runner(tmp_path / 'whole', 99)
    whole.train()
    with pytest.raises(Preempted):
        runner(tmp_path / 'run', at).train()
    epochs = {path.name for path in (tmp_path / 'run').glob('epoch_*.pth')}
    assert epochs == ({f'epoch_{(at - 1) // 2}.pth'} if at > 2 else set())
    meta = torch.load(tmp_path / 'run' / 'interrupted.pth', weights_only=False)['meta']
    assert (meta['iter'], meta['epoch']) == (at, (at - 1) // 2)
    resumed = runner(tmp_path / 'run', 99, resume=True, experiment_name='resumed')
    resumed.train()
    assert (resumed.iter, resumed.epoch) == (whole.iter, whole.epoch) == (6, 3)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    losses = [each.message_hub.get_scalar('train/loss').data[0].tolist() for each in (whole, resumed)]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    assert resumed.message_hub.get_info('epochs_ended') == [1, 2, 3]


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_person_who_stops_it_gets_the_command_that_goes_on(number, status, tmp_path, capsys):
    before = signal.signal(number, signal.default_int_handler)           # under nohup it is ignored
    run = runner(tmp_path, 2, number=number)
    run.go_on = 'mmsimclr train X --resume'
    with pytest.raises(Preempted) as caught:
        run.train()
    assert caught.value.code == status and (tmp_path / 'interrupted.pth').is_file()
    assert capsys.readouterr().out.endswith(' To go on:\n  mmsimclr train X --resume\n')
    signal.signal(number, before)


def test_a_second_ctrl_c_ends_the_process_at_once_without_an_exception(tmp_path, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)    # a job in the background ignores it
    ended = []

    def end(status):
        ended.append(status)
        raise SystemExit(status)                             # in place of the end of this process

    monkeypatch.setattr('mmsimclr.engine.hooks.preemption.os._exit', end)
    with pytest.raises(SystemExit):
        runner(tmp_path, 2, number=signal.SIGINT, times=2).train()
    signal.signal(signal.SIGINT, before)
    assert ended == [130]
    assert not (tmp_path / 'interrupted.pth').exists()


def test_an_ignored_signal_stays_ignored(tmp_path):
    """As of a run under nohup, or of a worker whose parent takes Ctrl-C for it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run = runner(tmp_path, 2, number=signal.SIGHUP)
    run.train()
    assert run.iter == 6
    signal.signal(signal.SIGHUP, before)


def test_with_accumulation_it_stops_after_an_update(tmp_path):
    run = runner(tmp_path, 1, accumulated=2)
    with pytest.raises(Preempted):
        run.train()
    assert run.message_hub.get_scalar('train/loss').data[0].size == 2


def test_a_signal_in_the_last_iteration_changes_nothing(tmp_path):
    run = runner(tmp_path, 6)
    run.train()
    assert run.iter == 6 and not (tmp_path / 'interrupted.pth').exists()


def test_weights_that_the_update_ruined_are_not_saved(tmp_path):
    with pytest.raises(FloatingPointError, match=r'neck\.fc0\.weight is not finite after iteration 1'):
        runner(tmp_path, 1, ruin=True).train()
    assert not list(tmp_path.glob('*.pth*'))


@pytest.mark.parametrize('error', [True, False])
def test_the_signals_are_given_back_however_the_run_ends(error, tmp_path):
    handlers = {signal.SIGUSR1: lambda *_: None, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    run = runner(tmp_path, 2, error=error)
    with pytest.raises((ValueError, Preempted)):
        run.train()
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_only_training_takes_the_signals(tmp_path):
    """A test alone has nothing to save: a signal must end it."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    run = runner(tmp_path, 99)
    run.call_hook('before_run')
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before
    run.train()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


def _say_and_sleep(pipe):
    pipe.send('here')
    time.sleep(60)


def test_a_forked_process_that_loads_nothing_obeys_the_signal():
    hook = PreemptionHook()
    hook.listen()
    try:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context('fork').Process(target=_say_and_sleep, args=(there,))
        process.start()
        assert here.poll(20)                  # Python forgets a signal that arrives while it forks
        process.terminate()
        process.join(20)
        assert process.exitcode == -signal.SIGTERM
    finally:
        process.kill()
        hook.release()
