"""Progress display for downloads and long computations."""

import shutil
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TextIO

BAR_WIDTH = 20
INTERVAL_S = {'terminal': 0.1, 'log': 30.0}
DIVISORS = {'MB': 1e6}                       # of units that are shown instead of what is counted: bytes


class ProgressLine:
    """Shows what is done, how much a second, and the time left; to be called with (done, total or None).

    On a terminal one line is rewritten; elsewhere a line is printed every half minute and at the end. What
    was done at the first call counts as done by an earlier run. As a context manager it ends a line that
    was being rewritten.

    Args:
        name: What the line begins with; may be empty.
        unit: What is counted; with ``'MB'``, ``done`` and ``total`` are in bytes.
        stream: Where to; standard error by default.
        clock: Returns seconds.
    """

    def __init__(self, name: str = '', unit: str = 'images', stream: TextIO | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.unit = name, unit
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self.on_terminal = self.stream.isatty()
        self.interval_s = INTERVAL_S['terminal' if self.on_terminal else 'log']
        self.began: tuple[float, int] | None = None          # when, and with how much done
        self.done = 0
        self.shown = clock()
        self.is_open = False                                 # whether the line may be rewritten
        self.is_over = False

    def __call__(self, done: int, total: int | None) -> None:
        """Report that ``done`` of ``total`` are done, unless that was done just now."""
        now = self.clock()
        if self.began is None or done < self.done:           # at the start, and at a start from zero
            self.began, self.is_over = (now, done), False
            if done and done != total:
                self._show(f'going on after {self._amount(done, total)}', ends=True)
                self.shown = now
        self.done, complete = done, done == total
        if self.is_over or (now - self.shown < self.interval_s and not complete):
            return
        self.shown, self.is_over = now, complete
        self._show(self._text(now, total), ends=complete)

    def __enter__(self) -> 'ProgressLine':
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_open:
            print(file=self.stream, flush=True)

    def _text(self, now: float, total: int | None) -> str:
        began_at, began_with = self.began
        per_s = (self.done - began_with) / max(now - began_at, 1e-9)
        text = f'{self._amount(self.done, total)}, {self._number(per_s)} {self.unit}/s'
        if not total:
            return text
        filled = BAR_WIDTH * self.done // total
        bar = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] " if self.on_terminal else ''
        left = timedelta(seconds=round((total - self.done) / per_s)) if per_s else 'unknown'
        eta = f', ETA {left}' if self.done < total else ''
        return f'{bar}{100 * self.done // total:3d} %  {text}{eta}'

    def _amount(self, done: int, total: int | None) -> str:
        of_total = '' if total is None else f' of {self._number(total)}'
        return f'{self._number(done)}{of_total} {self.unit}'

    def _number(self, count: float) -> str:
        divisor = DIVISORS.get(self.unit)
        return f'{count / divisor:.1f}' if divisor else f'{count:.0f}'

    def _show(self, text: str, ends: bool) -> None:
        line = f'{self.name}  {text}' if self.name else text
        if self.on_terminal:
            line = line[1 - shutil.get_terminal_size().columns:]         # one that wraps cannot be rewritten
            line = f'\r{line}\x1b[K'                         # erases what a longer line had left
        self.is_open = self.on_terminal and not ends
        print(line, end='' if self.is_open else '\n', file=self.stream, flush=True)
