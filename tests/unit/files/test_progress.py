"""A bar on a terminal, a line now and then in a log; of bytes or of anything else."""

import io
import time

import pytest

from mmsimclr.files import ProgressLine, progress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def shown(terminal, steps, *arguments):
    stream = Stream(terminal)
    with ProgressLine(*arguments, stream=stream) as line:
        for step in steps:
            line(*step)
    return stream.getvalue()


def test_a_terminal_shows_one_bar_that_ends_full():
    text = shown(True, [(0, 10**7), (5 * 10**6, 10**7), (10**7, 10**7), (10**7, 10**7)], 'a.pth', 'MB')
    first, *_, last = text.removeprefix('\r').split('\r')
    assert text.count('\n') == 1 and 'a.pth:   0%' in first
    assert 'a.pth: 100%' in last and '10.0M/10.0M' in last and last.endswith('B/s]\n')


def test_a_line_that_was_being_rewritten_is_ended():
    assert shown(True, [(0, 100), (50, 100)]).endswith('images/s]\n')


def test_a_log_gets_its_first_and_last_state_once_each():
    lines = shown(False, [(done, 1000) for done in range(1001)] + [(1000, 1000)], 'a.pth').splitlines()
    assert len(lines) == 2 and not any('\r' in line for line in lines)
    assert '0 of 1000 images' in lines[0] and lines[1].startswith('a.pth 100 %  1000 of 1000 images, ')


def test_a_log_gets_a_line_an_interval(monkeypatch):
    monkeypatch.setattr(progress, 'LOG_INTERVAL_S', 0.05)
    stream = Stream(False)
    line = ProgressLine(unit='MB', stream=stream)
    for done in range(5):
        line(done * 10**6, 10**7)
        time.sleep(0.06)
    done = [text.split('%')[1].split(' of')[0].strip() for text in stream.getvalue().splitlines()]
    assert done == ['0.00', '1.00M', '2.00M', '3.00M', '4.00M']


@pytest.mark.parametrize('start', [0, 900])
def test_the_rate_counts_what_this_run_has_done(start):
    stream = Stream(False)
    line = ProgressLine(stream=stream)
    line(start, 1000)
    time.sleep(0.2)
    line(1000, 1000)
    rate = float(stream.getvalue().splitlines()[-1].split(', ')[1].split()[0])
    assert 0 < rate <= (1000 - start) / 0.2


def test_after_a_start_from_zero_all_is_shown_again():
    lines = shown(False, [(90, 100), (93, 100), (0, 100), (100, 100)]).splitlines()
    assert [line.split('%')[0].strip() for line in lines] == ['90', '93', '0', '100']


def test_what_was_done_before_is_shown_once():
    assert shown(False, [(11, 11), (11, 11)]).count('11 of 11') == 1


def test_an_unknown_total_is_not_made_up():
    last = shown(False, [(0, None), (8 * 10**6, None)], 'a.pth', 'MB').splitlines()[-1]
    assert '8.00MB' in last and '%' not in last and 'ETA' not in last
