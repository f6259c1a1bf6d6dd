"""How far a download is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

BAR_WIDTH = 30
INTERVAL_S = {'terminal': 0.1, 'log': 30.0}


class TransferProgress:
    """Shows a transfer; to be called with (bytes present, total bytes or None), as a context manager.

    Args:
        name: What is transferred.
        stream: Where to show it.
        clock: Returns seconds.
    """

    def __init__(self, name: str, stream: TextIO | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self.on_terminal = self.stream.isatty()
        self.interval_s = INTERVAL_S['terminal' if self.on_terminal else 'log']
        self.began = self.shown = clock()
        self.first: int | None = None        # bytes that an earlier attempt had left
        self.bar_is_open = False

    def __call__(self, received: int, total: int | None) -> None:
        """Show that ``received`` of ``total`` bytes are there, unless that was done just now."""
        now = self.clock()
        if self.first is None or received < self.first:        # at the start, and at a start from zero
            self.first, self.began = received, now
        complete = received == total
        if now - self.shown < self.interval_s and not (complete and self.on_terminal):
            return
        self.shown = now
        text = self._text(received, total, (received - self.first) / max(now - self.began, 1e-9))
        if self.on_terminal:
            self.stream.write(f'\r{text}\x1b[K')        # erases what a longer line had left
            self.bar_is_open = True
        else:
            self.stream.write(f'{text}\n')
        self.stream.flush()

    def _text(self, received: int, total: int | None, bytes_per_s: float) -> str:
        speed = f'{bytes_per_s / 1e6:.1f} MB/s'
        if not total:
            return f'{self.name}  {received / 1e6:.1f} MB  {speed}'
        filled = BAR_WIDTH * received // total
        bar = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] " if self.on_terminal else ''
        return (f'{self.name}  {bar}{100 * received // total:3d} %  {received / 1e6:.1f} of '
                f'{total / 1e6:.1f} MB  {speed}')

    def __enter__(self) -> 'TransferProgress':
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar_is_open:
            self.stream.write('\n')
            self.stream.flush()
