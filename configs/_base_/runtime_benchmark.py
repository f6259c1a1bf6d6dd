"""Runtime of benchmarks that train: hooks, log, environment."""

from mmengine.config import read_base

from mmsimclr.engine import FiniteLossHook
from mmsimclr.runner import PretrainLogProcessor

with read_base():
    from .runtime import *

# The last epoch's checkpoint, to resume from.
default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
custom_hooks = [dict(type=FiniteLossHook)]
log_processor = dict(type=PretrainLogProcessor, window_size=50)
