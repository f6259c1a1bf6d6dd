"""A run on the console: a few lines of ours, warnings, and progress by time; the log file has everything."""

import logging
import shutil
import sys
import time
from pathlib import Path

from mmengine.hooks import Hook

PACKAGE = str(Path(__file__).parents[1])
# Warnings of MMEngine about what it does itself.
NOISE = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias', 'Could not import')
TERMINAL_S = 10.0
# In a file: seconds between lines, and the share of the whole run after which the next is due.
FILE_S, FILE_SHARE = 30.0, 0.01


def is_shown(record: logging.LogRecord) -> bool:
    """Whether a record is for the console.

    That is a warning which is no noise; what our code logs by ``logger.info``; and the figures of validations
    and tests. What goes through MMEngine's ``print_log``, also from us, is for the log file.
    """
    if record.levelno >= logging.WARNING:
        return not record.getMessage().startswith(NOISE)
    return record.pathname.startswith(PACKAGE) or (
        record.module == 'logger_hook' and record.funcName.startswith(('after_val', 'after_test')))


class Console(logging.Handler):
    """Prints what :func:`is_shown` passes, without time and place, and a line of progress that is refreshed.

    It writes to whatever ``sys.stdout`` is at the time.
    """

    def __init__(self, level: int = logging.INFO) -> None:
        super().__init__(level)
        self.addFilter(is_shown)
        self._has_line = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; a warning says that it is one."""
        kind = '' if record.levelno < logging.WARNING else f'{record.levelname.lower()}: '
        self.print(f'{kind}{record.getMessage()}')

    def print(self, text: str, is_progress: bool = False) -> None:
        """Print a text; on a terminal, progress stays on one line, and other texts take its place."""
        refreshed = is_progress and sys.stdout.isatty()
        start, end = '\r\x1b[K' if self._has_line else '', '' if refreshed else '\n'
        if refreshed:
            text = text[:shutil.get_terminal_size().columns - 1]
        try:
            print(f'{start}{text}', end=end, flush=True)
        except OSError:                                  # a terminal that has gone; the log file has it
            end = '\n'
        self._has_line = not end


def show_little(logger: logging.Logger) -> Console | None:
    """Put a :class:`Console` in the place of the handlers that print to the terminal, and return it."""
    console = None
    for number, handler in enumerate(logger.handlers):
        if type(handler) is logging.StreamHandler:
            console = logger.handlers[number] = Console(handler.level)
    return console


class ConsoleHook(Hook):
    """Show the line of the log after the first step and the last, and by time between them.

    On a terminal a line is refreshed every ten seconds; in a file lines are half a minute apart, or a
    hundredth of the run. The interval of the log and its file do not matter.
    """

    priority = 'BELOW_NORMAL'                            # after the timer, whose estimate the line has

    def __init__(self, console: Console) -> None:
        self.console = console

    def before_train(self, runner) -> None:
        self._started, self._next = time.monotonic(), 0.0

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        elapsed, is_last = time.monotonic() - self._started, runner.iter + 1 == runner.max_iters
        if elapsed < self._next and not is_last:
            return
        left = runner.message_hub.runtime_info.get('eta', 0.0)
        sparse = max(FILE_S, FILE_SHARE * (elapsed + left))
        self._next = elapsed + (TERMINAL_S if sys.stdout.isatty() else sparse)
        self.console.print(runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')[1],
                           is_progress=not is_last)
