"""How far a long computation is, in one line."""

import sys
import time
from datetime import timedelta
from typing import TextIO


class ProgressLine:
    """Prints what is done, how much a second, and the time left; called with (done, total).

    On a terminal one line is rewritten; elsewhere a line is printed every ``interval_s`` and at the end.

    Args:
        stream: Where to; standard error by default.
        interval_s: Seconds between lines that cannot be rewritten.
        unit: What is counted.
    """

    def __init__(self, stream: TextIO | None = None, interval_s: float = 30.0,
                 unit: str = 'images') -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.interval_s, self.unit = interval_s, unit
        self._began: tuple[float, int] | None = None
        self._printed_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` are done, those of earlier runs included."""
        now = time.monotonic()
        if self._began is None:
            self._began = now, done
            self._printed_at = now
            if 0 < done < total:
                print(f'going on after {done} of {total} {self.unit}', file=self.stream, flush=True)
            return
        rewrites = self.stream.isatty()
        if done < total and not rewrites and now - self._printed_at < self.interval_s:
            return
        self._printed_at = now
        began_at, began_with = self._began
        rate = (done - began_with) / max(now - began_at, 1e-9)
        left = timedelta(seconds=round((total - done) / rate)) if rate else 'unknown'
        line = f'{done} of {total} {self.unit}, {rate:.0f} {self.unit}/s, ETA {left}'
        end = '' if rewrites and done < total else '\n'
        print(f'\r{line:<70}' if rewrites else line, end=end, file=self.stream, flush=True)
