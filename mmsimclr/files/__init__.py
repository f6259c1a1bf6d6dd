"""Files that arrive whole: downloads that resume, checks, atomic writing. Standard library only."""

from .download import DownloadError, download
from .unpacking import unpack
from .verified_file import atomic_writer, difference, file_digest

__all__ = ['DownloadError', 'atomic_writer', 'difference', 'download', 'file_digest', 'unpack']
