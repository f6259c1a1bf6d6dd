"""Configs: load them from files and check them."""

from .check import check_config
from .errors import ConfigError
from .load import load_config, parse_options, parse_value

__all__ = ['ConfigError', 'check_config', 'load_config', 'parse_options', 'parse_value']
