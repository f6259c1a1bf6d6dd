import io

from mmsimclr.features import ProgressLine, progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream, monkeypatch, steps, **arguments) -> str:
    """Report (second, done) for each step, out of 100."""
    line, clock = ProgressLine(stream, **arguments), [0.0]
    monkeypatch.setattr(progress_line.time, 'monotonic', lambda: clock[0])
    for clock[0], done in steps:
        line(done, 100)
    return stream.getvalue()


def test_rate_and_time_left_count_what_this_run_has_done(monkeypatch):
    text = run(io.StringIO(), monkeypatch, [(50, 40), (60, 60), (80, 100)], interval_s=5)
    assert text.splitlines() == ['going on after 40 of 100 images',
                                 '60 of 100 images, 2 images/s, ETA 0:00:20',
                                 '100 of 100 images, 2 images/s, ETA 0:00:00']


def test_a_log_gets_a_line_an_interval_and_the_last(monkeypatch):
    steps = [(second, second) for second in range(101)]
    text = run(io.StringIO(), monkeypatch, steps, interval_s=40)
    assert [line.split()[0] for line in text.splitlines()] == ['40', '80', '100']


def test_a_terminal_gets_one_line_that_is_rewritten(monkeypatch):
    text = run(Terminal(), monkeypatch, [(0, 0), (1, 50), (2, 100)])
    assert text.count('\n') == 1 and text.endswith('\n') and text.count('\r') == 2


def test_no_rate_yet_is_no_division_by_zero(monkeypatch):
    text = run(Terminal(), monkeypatch, [(0, 0), (0, 0), (3, 0)])
    assert 'ETA unknown' in text
