"""Configs: load, check, and build a Runner from them."""

from .check import check_config
from .errors import ConfigError
from .load import load_config
from .options import ConfigOptions, parse_value
from .plain_errors import plain_errors
from .pretrain_runner import PretrainRunner
from .run_errors import RunError
from .runner import build_runner, set_amp, set_auto_scale_lr, set_deterministic

__all__ = ['ConfigError', 'ConfigOptions', 'PretrainRunner', 'RunError', 'build_runner', 'check_config',
           'load_config', 'parse_value', 'plain_errors', 'set_amp', 'set_auto_scale_lr', 'set_deterministic']
