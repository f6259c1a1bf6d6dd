"""A bar on a terminal, a line now and then in a log; of bytes or of anything else."""

import io

import pytest

from mmsimclr.files import ProgressLine


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')


def shown(terminal, steps, *arguments):
    """Return what is written when, at each time in seconds, so much of a total is done."""
    stream, times = Stream(terminal), iter([0.0, *(step[0] for step in steps)])
    with ProgressLine(*arguments, stream=stream, clock=lambda: next(times)) as progress:
        for _, done, total in steps:
            progress(done, total)
    return stream.getvalue()


def test_a_terminal_shows_one_bar_that_ends_full():
    text = shown(True, [(0.05, 0, 10**7), (0.06, 10**6, 10**7), (2.05, 5 * 10**6, 10**7),
                        (2.06, 10**7, 10**7)], 'a.pth', 'MB')
    bars = text.split('\r')[1:]
    assert bars == [
        'a.pth  [##########..........]  50 %  5.0 of 10.0 MB, 2.5 MB/s, ETA 0:00:02\x1b[K',
        'a.pth  [####################] 100 %  10.0 of 10.0 MB, 5.0 MB/s\x1b[K\n']


def test_a_line_that_was_being_rewritten_is_ended():
    assert shown(True, [(1, 0, 100), (2, 50, 100)]).endswith('ETA 0:00:01\x1b[K\n')
    assert shown(True, [(0.01, 0, 100)]) == ''


def test_a_line_longer_than_the_terminal_loses_the_beginning_of_its_name(monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    first, last = shown(True, [(1, 0, 10**7), (2, 5 * 10**6, 10**7)], 'x' * 80, 'MB').split('\r')[1:]
    assert len(last) == 79 + len('\x1b[K\n') and last.startswith('x' * 9)
    assert last.endswith('5.0 of 10.0 MB, 5.0 MB/s, ETA 0:00:01\x1b[K\n')
    assert len(first) == 79 + len('\x1b[K')


def test_a_log_gets_a_line_an_interval_and_the_last_once():
    steps = [(second, second * 10**6, 10**8) for second in range(101)]
    assert shown(False, [*steps, (101, 10**8, 10**8)], 'a.pth', 'MB') == (
        'a.pth   30 %  30.0 of 100.0 MB, 1.0 MB/s, ETA 0:01:10\n'
        'a.pth   60 %  60.0 of 100.0 MB, 1.0 MB/s, ETA 0:00:40\n'
        'a.pth   90 %  90.0 of 100.0 MB, 1.0 MB/s, ETA 0:00:10\n'
        'a.pth  100 %  100.0 of 100.0 MB, 1.0 MB/s\n')


def test_rate_and_time_left_count_what_this_run_has_done():
    text = shown(False, [(50, 40, 100), (80, 60, 100), (90, 100, 100)])
    assert text.splitlines() == ['going on after 40 of 100 images',
                                 ' 60 %  60 of 100 images, 1 images/s, ETA 0:01:00',
                                 '100 %  100 of 100 images, 2 images/s']


def test_rate_counts_anew_after_a_start_from_zero():
    resumed = [(10, 90 * 10**6, 10**8), (40, 93 * 10**6, 10**8)]
    assert '93.0 of 100.0 MB, 0.1 MB/s' in shown(False, resumed, 'a.pth', 'MB')
    anew = shown(False, [*resumed, (50, 0, 10**8), (80, 60 * 10**6, 10**8)], 'a.pth', 'MB')
    assert '60.0 of 100.0 MB, 2.0 MB/s' in anew and anew.count('going on') == 1


def test_an_unknown_total_is_not_made_up():
    assert shown(False, [(0, 0, None), (40, 8 * 10**6, None)], 'a.pth', 'MB') == 'a.pth  8.0 MB, 0.2 MB/s\n'


def test_no_rate_yet_is_no_division_by_zero():
    assert 'ETA unknown' in shown(True, [(0, 0, 100), (0, 0, 100), (3, 0, 100)])
