"""A bar on a terminal, a line now and then in a log."""

import io

from mmsimclr.reporting.transfer_progress import TransferProgress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def shown(terminal, steps):
    """Return what is written when, at each time in seconds, so many bytes of a total are there."""
    stream, times = Stream(terminal), iter([0.0, *(step[0] for step in steps)])
    with TransferProgress('a.pth', stream, lambda: next(times)) as progress:
        for _, received, total in steps:
            progress(received, total)
    return stream.getvalue()


def test_a_terminal_shows_a_bar_that_ends_full():
    text = shown(True, [(0.05, 0, 10**7), (0.06, 10**6, 10**7), (2.05, 5 * 10**6, 10**7),
                        (2.06, 10**7, 10**7)])
    bars = text.split('\r')[1:]
    assert bars[0].startswith('a.pth  [###############...............]  50 %  5.0 of 10.0 MB  2.5 MB/s')
    assert bars[1].startswith('a.pth  [##############################] 100 %  10.0 of 10.0 MB')
    assert len(bars) == 2 and text.endswith('\n')


def test_a_log_gets_a_line_now_and_then():
    steps = [(second, second * 10**6, 10**8) for second in range(1, 71)]
    assert shown(False, steps) == ('a.pth   30 %  30.0 of 100.0 MB  1.0 MB/s\n'
                                   'a.pth   60 %  60.0 of 100.0 MB  1.0 MB/s\n')


def test_a_short_transfer_leaves_no_line_in_a_log():
    assert shown(False, [(1, 0, 10), (2, 10, 10)]) == ''


def test_speed_counts_only_what_came_now_and_anew_after_a_new_start():
    resumed = [(10, 90 * 10**6, 10**8), (40, 93 * 10**6, 10**8)]
    assert '0.1 MB/s' in shown(False, resumed)
    assert '2.0 MB/s' in shown(False, [*resumed, (50, 0, 10**8), (80, 60 * 10**6, 10**8)])


def test_an_unknown_total_is_not_made_up():
    assert shown(False, [(0, 0, None), (40, 8 * 10**6, None)]) == 'a.pth  8.0 MB  0.2 MB/s\n'
