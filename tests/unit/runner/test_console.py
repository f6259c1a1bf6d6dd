"""The console of a run: what is trained on what, then progress by time; the rest goes to the log file."""

import io
import logging
import sys
from types import SimpleNamespace

import pytest
from mmengine.logging import MMLogger, print_log
from tiny_run import log_of, tiny_runner

from mmsimclr.runner import log, resume_command, show_little
from mmsimclr.runner.log import Console, ConsoleHook


class Stream(io.StringIO):
    """Standard output that is, or is not, a terminal."""

    def __init__(self, is_terminal: bool):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=0.0)
    monkeypatch.setattr(log.time, 'monotonic', lambda: now.time)
    return now


def test_a_run_prints_its_facts_and_its_progress_and_logs_the_rest(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_runner(tmp_path / 'run').train()
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    heads = [line.split('  ')[0] for line in lines]
    assert heads == ['images', 'model', 'device', 'global batch', 'learning rate', 'steps', 'results',
                     'epoch 1/1', 'epoch 1/1']
    facts = dict(zip(heads, lines, strict=True))
    assert '16 of Shapes, 10 classes, not used' in facts['images'] and 'ResNet-18' in facts['model']
    assert 'float32' in facts['device'] and ' 8: ' in facts['global batch'] and ' run ' in facts['results']
    assert facts['steps'].endswith(' 2 = 1 epochs of 2')
    assert [line.split('  ')[1] for line in lines[-2:]] == ['step 1/2', 'step 2/2']
    log = log_of(tmp_path / 'run')
    assert 'System environment' in log and 'train_dataloader = dict(' in log and 'versions: ' in log
    assert all(line in log for line in lines[:7]) and 'Exp name' not in printed.out + printed.err


def test_noise_is_kept_from_the_console_and_warnings_are_not(capsys):
    logger = MMLogger.get_instance('quiet', logger_name='mmsimclr')
    show_little(logger)
    print_log('"FileClient" will be deprecated in future.', logger, logging.WARNING)
    print_log('a detail', logger)
    print_log('the disk is nearly full', logger, logging.WARNING)
    assert capsys.readouterr().out == 'warning: the disk is nearly full\n'


def progress(stream: Stream, clock, monkeypatch, seconds_per_step: float, steps: int) -> None:
    monkeypatch.setattr(sys, 'stdout', stream)
    runner = SimpleNamespace(max_iters=steps, message_hub=SimpleNamespace(runtime_info={}), log_processor=(
        SimpleNamespace(get_log_after_iter=lambda runner, index, mode: ({}, f'step {index + 1}'))))
    hook = ConsoleHook(Console())
    hook.before_train(runner)
    for runner.iter in range(steps):
        clock.time += seconds_per_step
        runner.message_hub.runtime_info['eta'] = seconds_per_step * (steps - runner.iter - 1)
        hook.after_train_iter(runner, runner.iter)


def test_a_terminal_shows_the_first_step_and_refreshes_one_line_every_ten_seconds(clock, monkeypatch):
    stream = Stream(True)
    progress(stream, clock, monkeypatch, 3.0, 10)
    assert stream.getvalue() == 'step 1' + ''.join(f'\r\x1b[Kstep {number}' for number in (5, 9, 10)) + '\n'


@pytest.mark.parametrize('seconds, steps, shown', [
    (3.0, 30, [1, 11, 21, 30]),                         # half a minute apart
    (3.0, 10_000, [1, *range(101, 10_000, 100), 10_000])])          # a hundredth of the run
def test_a_file_gets_few_lines_whatever_the_length(seconds, steps, shown, clock, monkeypatch):
    stream = Stream(False)
    progress(stream, clock, monkeypatch, seconds, steps)
    numbers = [int(line.removeprefix('step ')) for line in stream.getvalue().splitlines()]
    assert len(numbers) <= 103 and numbers[:2] == shown[:2] and numbers[-1] == shown[-1]
    assert len(numbers) == pytest.approx(len(shown), abs=2)


def test_a_message_takes_the_place_of_the_line_of_progress(monkeypatch):
    stream = Stream(True)
    monkeypatch.setattr(sys, 'stdout', stream)
    shown = Console()
    shown.print('step 1', is_progress=True)
    shown.print('saved')
    shown.print('step 2', is_progress=True)
    assert stream.getvalue() == 'step 1\r\x1b[Ksaved\nstep 2'


def test_a_terminal_that_has_gone_stops_nothing(monkeypatch):
    class Gone(Stream):
        def write(self, text):
            raise OSError(5, 'Input/output error')
    monkeypatch.setattr(sys, 'stdout', Gone(True))
    Console().print('step 1', is_progress=True)


@pytest.mark.parametrize('command, expected', [
    ('mmsimclr train X a=1', 'mmsimclr train X a=1 --resume'),
    ('mmsimclr train X --resume old.pth a=1', 'mmsimclr train X a=1 --resume'),
    ('mmsimclr train X --resume a=1', 'mmsimclr train X a=1 --resume'),
    ('python tools/benchmark.py X Y --resume --amp', 'python tools/benchmark.py X Y --amp --resume'),
    ("mmsimclr train X --resume 'my run/old.pth' 'a=[1, 2]'", "mmsimclr train X 'a=[1, 2]' --resume"),
    ('mmsimclr train X --resume=old.pth a=1', 'mmsimclr train X a=1 --resume'),
    ('bash tools/dist_train.sh X 8', 'bash tools/dist_train.sh X 8 --resume'), ('mmsimclr study X', None)])
def test_the_command_that_goes_on_resumes_once(command, expected):
    assert resume_command(command) == expected
