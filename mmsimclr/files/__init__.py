"""Files that arrive whole: downloads that resume, checks, atomic writing. Standard library only."""

from .download import DownloadError, UnreachableError, download
from .locked_file import locked_file
from .progress_line import ProgressLine
from .unpacking import unpack
from .verified_file import atomic_writer, difference, file_digest

__all__ = ['DownloadError', 'ProgressLine', 'UnreachableError', 'atomic_writer', 'difference', 'download',
           'file_digest', 'locked_file', 'unpack']
