"""Log of a run: scalars read without waiting for the device, one line per interval."""

import sys
from collections import OrderedDict, defaultdict
from datetime import timedelta
from types import ModuleType
from typing import Any

import numpy as np
import torch
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


class RecentHistory(HistoryBuffer):
    """MMEngine's history of a scalar, for the last ``max_length`` values, written in place.

    MMEngine's copies the whole history at each step. Here a value costs the same at any step: when the arrays
    are full, what counts moves to the start of arrays with as much room again.
    """

    def __init__(self, values: np.ndarray, counts: np.ndarray, max_length: int = USUAL_VALUES) -> None:
        # Not empty slices: [-0:] is all.
        super().__init__(values[max(0, len(values) - max_length):], counts[max(0, len(counts) - max_length):],
                         max_length)

    def update(self, log_val: float, count: int = 1) -> None:
        """Add a value that stands for ``count`` of them."""
        if not isinstance(log_val, int | float) or not isinstance(count, int | float):
            raise TypeError(f'a value and its count must be numbers, got {log_val!r} and {count!r}')
        for arrays, value in ((self._values, log_val), (self._counts, count)):
            arrays.append(value, self.max_length)

    @property
    def _log_history(self) -> np.ndarray:
        return self._values.recent(self.max_length)

    @_log_history.setter
    def _log_history(self, values: np.ndarray) -> None:
        self._values = _Tail(values)

    @property
    def _count_history(self) -> np.ndarray:
        return self._counts.recent(self.max_length)

    @_count_history.setter
    def _count_history(self, counts: np.ndarray) -> None:
        self._counts = _Tail(counts)

    def plain(self) -> HistoryBuffer:
        """Return a copy of MMEngine's class, as checkpoints have it."""
        return HistoryBuffer(self._log_history, self._count_history)


class _Tail:
    """The end of a growing array."""

    def __init__(self, values: np.ndarray) -> None:
        self._array, self._end = np.array(values), len(values)

    def append(self, value: float, max_length: int) -> None:
        # The type is that which numpy.append would give: integers become floats with the first float.
        kind = np.result_type(self._array.dtype, np.asarray(value).dtype)
        if self._end == len(self._array) or kind != self._array.dtype:
            kept = self.recent(max_length)
            array = np.empty(len(kept) + max(64, len(kept)), kind)
            array[:len(kept)] = kept
            self._array, self._end = array, len(kept)
        self._array[self._end] = value
        self._end += 1

    def recent(self, max_length: int) -> np.ndarray:
        return self._array[max(0, self._end - max_length):self._end]


class DeferredMessageHub(MessageHub):
    """MMEngine's message hub, whose scalars stay on the device until a log line or a checkpoint needs them.

    MMEngine's reads the losses at once, so that the host waits for the device at each step, and keeps a
    million values of each. This one keeps the last ``num_values``, also of a checkpoint that has more.
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
        """Add a value to the history of a scalar; see :class:`mmengine.logging.MessageHub`."""
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
        """The history of every scalar."""
        self._read(*self._waiting)
        return super().log_scalars

    def get_scalar(self, key: str) -> HistoryBuffer:
        """Return the history of one scalar."""
        self._read(key)
        # MMEngine's looks into log_scalars, which would read all: its timer asks for the time at each step.
        return self._log_scalars[key] if key in self._log_scalars else super().get_scalar(key)

    def state_dict(self) -> dict:
        """Return what a checkpoint keeps, in MMEngine's classes."""
        self._read(*self._waiting)
        state = super().state_dict()
        state['log_scalars'] = OrderedDict((key, history.plain() if isinstance(history, RecentHistory) else
                                            history) for key, history in state['log_scalars'].items())
        return state

    def load_state_dict(self, state_dict: MessageHub | dict) -> None:
        """Load what a checkpoint has, and keep as much of each scalar as this hub does."""
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
        if type(history := self._log_scalars[key]) is HistoryBuffer:
            self._log_scalars[key] = RecentHistory(*history.data, self.num_values)


def numbers_in(tensors: list[Tensor]) -> list[float | int]:
    """Return the numbers in tensors of one element each, with one wait for each device and type."""
    alike = defaultdict(list)
    for place, tensor in enumerate(tensors):
        alike[tensor.device, tensor.dtype].append(place)
    found: list[float | int] = [0] * len(tensors)
    for places in alike.values():
        for place, number in zip(places, torch.stack([tensors[each].reshape(()) for each in places]).tolist(),
                                 strict=True):
            found[place] = number
    return found


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
        """Return the scalars for the backends and the line for the terminal."""
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
