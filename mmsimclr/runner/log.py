"""Log of a run, its scalars read without waiting for the device, and a console of few lines."""

import logging
import shutil
import sys
import time
from collections import OrderedDict, defaultdict
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import LogProcessor
from torch import Tensor

from mmsimclr import distributed
from mmsimclr.registry import LOG_PROCESSORS

# So TensorBoard knows that it needs no TensorFlow, which takes ten seconds to import where it is installed.
sys.modules.setdefault('tensorboard.compat.notf', ModuleType('tensorboard.compat.notf'))

ALL_VALUES = 1_000_000              # what MMEngine keeps
USUAL_VALUES = 10_000
MAX_WAITING = 1000                  # scalars on the device


class DeferredMessageHub(MessageHub):
    """MMEngine's message hub, whose scalars stay on the device until a log line or a checkpoint needs them.

    MMEngine's reads the losses at once, so that the host waits for the device at each step, and keeps a
    million values of each, which it copies with every new one. This one keeps the last ``num_values``, also
    of a checkpoint that has more.
    """

    num_values = USUAL_VALUES

    def __init__(self, name: str, **kwargs: Any) -> None:
        self._waiting: dict[str, list[tuple[Tensor, int, bool]]] = defaultdict(list)
        super().__init__(name, **kwargs)

    def keep_for(self, processor: LogProcessor) -> None:
        """Keep as many values as a log processor averages over, and no fewer than the usual number."""
        sizes = [processor.window_size, *(each.get('window_size') for each in processor.custom_cfg)]
        # 'epoch', 'global' and none at all may be any number.
        self.num_values = max(USUAL_VALUES, *sizes) if all(isinstance(size, int) for size in sizes) \
            else ALL_VALUES

    def update_scalar(self, key: str, value: Any, count: int = 1, resumed: bool = True) -> None:
        if isinstance(value, Tensor) and value.numel() == 1:
            # A copy: the model may go on with its own.
            self._waiting[key].append((value.detach().clone(), count, resumed))
            if len(self._waiting[key]) >= MAX_WAITING:               # of a log with a long interval
                self._read(key)
        else:
            self._read(key)
            self._add(key, value, count, resumed)

    @property
    def log_scalars(self) -> OrderedDict:
        self._read(*self._waiting)
        return super().log_scalars

    def get_scalar(self, key: str) -> HistoryBuffer:
        self._read(key)
        # MMEngine's looks into log_scalars, which would read all: its timer asks for the time at each step.
        return self._log_scalars[key] if key in self._log_scalars else super().get_scalar(key)

    def state_dict(self) -> dict:
        self._read(*self._waiting)
        return super().state_dict()

    def load_state_dict(self, state_dict: MessageHub | dict) -> None:
        super().load_state_dict(state_dict)
        for key in self._log_scalars:
            self._shorten(key)

    def _read(self, *keys: str) -> None:
        waiting = [(key, *each) for key in keys for each in self._waiting.pop(key, ())]
        numbers = numbers_in([value for _, value, *_ in waiting])
        for (key, _, *counts), number in zip(waiting, numbers, strict=True):
            self._add(key, number, *counts)

    def _add(self, key: str, *value: Any) -> None:
        super().update_scalar(key, *value)
        self._shorten(key)

    def _shorten(self, key: str) -> None:
        if (history := self._log_scalars[key]).max_length != self.num_values:
            self._log_scalars[key] = HistoryBuffer(
                *(part[-self.num_values:] for part in history.data), self.num_values)


def numbers_in(tensors: list[Tensor]) -> list[float | int]:
    """Return the numbers in tensors of one element each, with one wait for each device and type."""
    alike = defaultdict(dict)
    for place, tensor in enumerate(tensors):
        alike[tensor.device, tensor.dtype][place] = tensor.reshape(())
    found: dict[int, float | int] = {}
    for group in alike.values():
        found.update(zip(group, torch.stack([*group.values()]).tolist(), strict=True))
    return [found[place] for place in range(len(tensors))]


# Whoever asks MMEngine for the hub of a name, or for the current one, gets this.
DeferredMessageHub._instance_dict = MessageHub._instance_dict


# Names in a line of the log, in this order; whatever else the model logs follows under its own.
SHORT_NAMES = {'loss': 'loss', 'contrastive_accuracy': 'accuracy', 'contrastive_entropy': 'entropy'}
NOT_REPEATED = {*SHORT_NAMES, 'lr', 'base_lr', 'time', 'data_time', 'images_per_second', 'epoch', 'iter',
                'memory', 'mfu_percent'}


@LOG_PROCESSORS.register_module()
class PretrainLogProcessor(LogProcessor):
    """MMEngine's processor, with a shorter line, and images per second of all ranks, loading included."""

    def get_log_after_iter(self, runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        if mode != 'train' or 'time' not in tag:
            return tag, line
        images = runner.train_dataloader.batch_sampler.batch_size * distributed.world_size()
        tag['images_per_second'] = images / max(tag['time'], 1e-9)
        if seconds := getattr(runner, 'seconds_at_peak', None):
            tag['mfu_percent'] = 100 * seconds / max(tag['time'], 1e-9)

        parts, steps = [], runner.max_iters
        if self.by_epoch:
            steps, epochs = len(runner.train_dataloader), runner.max_epochs
            parts = [f'epoch {runner.epoch + 1:>{len(str(epochs))}}/{epochs}']
        parts.append(f'step {batch_idx + 1:>{len(str(steps))}}/{steps}')
        eta = runner.message_hub.runtime_info.get('eta')
        parts += [f'ETA {timedelta(seconds=int(eta))}'] if eta is not None else []
        parts += [f'{name} {tag[key]:.4f}' for key, name in SHORT_NAMES.items() if key in tag]
        parts += [f'{key} {value:.4f}' for key, value in tag.items()
                  if key not in NOT_REPEATED and isinstance(value, float) and not key.endswith('/lr')]
        parts += [f'lr {tag["lr"]:.4g}'] if 'lr' in tag else []
        parts += [f'{tag["images_per_second"]:,.0f} images/s']
        parts += [f'MFU {tag["mfu_percent"]:.1f} %'] if 'mfu_percent' in tag else []
        parts += [f'{tag["memory"]} MiB'] if 'memory' in tag else []
        return tag, '  '.join(parts)


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
