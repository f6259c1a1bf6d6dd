"""Files that arrive whole: downloads that resume, checks, atomic writing. Standard library only."""

from .download import DownloadError, UnreachableError, download
from .unpacking import unpack
from .verified_file import atomic_writer, difference, file_digest

__all__ = ['DownloadError', 'UnreachableError', 'atomic_writer', 'difference', 'download', 'file_digest',
           'unpack']
