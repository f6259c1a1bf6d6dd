"""A message hub that reads what a device computed when somebody asks for it, not at each step."""

from collections import OrderedDict, defaultdict
from typing import Any

from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor


class DeferredMessageHub(MessageHub):
    """MMEngine's message hub, whose scalars are read on the host when they are asked for.

    MMEngine's hooks hand the losses of each iteration to the hub, which takes their values at once: the host
    waits for the device at each step. Here they stay there, detached, until a log line or a checkpoint needs
    them. What is read is the same.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        self._waiting: dict[str, list[tuple[Tensor, int, bool]]] = defaultdict(list)
        super().__init__(name, **kwargs)

    def update_scalar(self, key: str, value: Any, count: int = 1, resumed: bool = True) -> None:
        """Add a value to the history of a scalar; see :class:`mmengine.logging.MessageHub`."""
        if isinstance(value, Tensor) and value.numel() == 1:
            # A copy: the model may go on with its own.
            self._waiting[key].append((value.detach().clone(), count, resumed))
        else:
            self._read(key)
            super().update_scalar(key, value, count, resumed)

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
        """Return what a checkpoint keeps."""
        self._read(*self._waiting)
        return super().state_dict()

    def _read(self, *keys: str) -> None:
        for key in keys:
            for value in self._waiting.pop(key, ()):
                super().update_scalar(key, *value)


# Whoever asks MMEngine for the hub of a name, or for the current one, gets this.
DeferredMessageHub._instance_dict = MessageHub._instance_dict
