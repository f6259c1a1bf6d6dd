"""Files: downloads that resume, digests, atomic writing, unpacking, leases, locks and progress."""

from .archives import unpack
from .download import DownloadError, UnreachableError, download
from .lease import HeldError, Lease, LostLeaseError, leased
from .locks import locked_file
from .progress import ProgressLine
from .verified import atomic_writer, difference, file_digest

__all__ = ['DownloadError', 'HeldError', 'Lease', 'LostLeaseError', 'ProgressLine', 'UnreachableError',
           'atomic_writer', 'difference', 'download', 'file_digest', 'leased', 'locked_file', 'unpack']
