"""Files: downloads that resume, digests, atomic writing, guarded reading, leases, locks and progress."""

from .archives import unpack
from .download import DownloadError, UnreachableError, download
from .lease import HeldError, Lease, LostLeaseError, leased
from .locks import locked_file
from .progress import ProgressLine
from .reading import open_regular, parse_json, read_json, read_regular, read_text
from .verified import atomic_writer, difference, file_digest

__all__ = ['DownloadError', 'HeldError', 'Lease', 'LostLeaseError', 'ProgressLine', 'UnreachableError',
           'atomic_writer', 'difference', 'download', 'file_digest', 'leased', 'locked_file',
           'open_regular', 'parse_json', 'read_json', 'read_regular', 'read_text', 'unpack']
