"""The version of mmsimclr."""

__version__ = '0.1.0'
