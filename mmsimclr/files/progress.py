"""Progress display for downloads and long computations."""

import sys
from typing import TextIO

from tqdm import tqdm

LOG_INTERVAL_S = 30.0
LOG_FORMAT = '{desc} {percentage:3.0f} %  {n_fmt} of {total_fmt}{unit}, {rate_noinv_fmt}, ETA {remaining}'


class ProgressLine:
    """Line that shows what is done, the rate and the time left; call it with (done, total or None).

    On a terminal one line is rewritten. Elsewhere a line is printed at the start, every half minute and at
    the end. What was done at the first call counts as done by an earlier run. With unit ``'MB'``, ``done``
    and ``total`` are in bytes. The stream is standard error by default.
    """

    def __init__(self, name: str = '', unit: str = 'images', stream: TextIO | None = None) -> None:
        self.name, self.unit = name, unit
        self.stream = sys.stderr if stream is None else stream
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Report that ``done`` of ``total`` are done."""
        if self._bar is None or done < self._bar.n:          # at the start, and at a start from zero
            self.__exit__()
            self._bar = self._start(done, total)
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.close()

    def __enter__(self) -> 'ProgressLine':
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _start(self, done: int, total: int | None) -> tqdm:
        settings = dict(unit='B', unit_scale=True) if self.unit == 'MB' else dict(unit=f' {self.unit}')
        is_terminal, stream = self.stream.isatty(), self.stream
        if not is_terminal:
            settings |= dict(mininterval=LOG_INTERVAL_S, bar_format=LOG_FORMAT if total is not None else None)
            stream = _Lines(self.stream)
        return _Bar(desc=self.name, total=total, initial=done, miniters=1, smoothing=0, position=0,
                    leave=done != total, dynamic_ncols=is_terminal, file=stream, **settings)


class _Bar(tqdm):
    monitor_interval = 0                    # no thread: loaders fork


class _Lines:
    """Stream that prints each state of tqdm's bar on a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.flush = stream, stream.flush

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip('\r\n').rstrip(), file=self.stream)
