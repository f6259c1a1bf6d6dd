"""Writing encoders for other libraries."""

from .convert import FORMATS, convert_checkpoint
