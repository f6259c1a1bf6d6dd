"""Writing encoders for other libraries."""

from .convert import FORMATS, convert_checkpoint

__all__ = ['FORMATS', 'convert_checkpoint']
