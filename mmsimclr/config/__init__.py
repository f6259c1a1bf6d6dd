"""Configs: load them from files, check and compare them."""

from mmsimclr.errors import ConfigError

from .canonical import canonical, config_sha256, differences
from .check import check_config
from .load import load_config, parse_options, parse_value
from .short_names import SHORT_NAMES, set_precision
