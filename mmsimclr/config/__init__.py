"""Configs: load, check, and build a Runner from them."""

from .check import ConfigError, check_config
from .load import load_config
from .plain_errors import plain_errors
from .runner import build_runner, set_amp, set_auto_scale_lr

__all__ = ['ConfigError', 'build_runner', 'check_config', 'load_config', 'plain_errors',
           'set_amp', 'set_auto_scale_lr']
