"""Files: downloads that resume, digests, atomic writing, guarded reading, leases, locks and progress."""

from .archives import unpack
from .arrays import map_npy, map_npz, read_npz
from .download import DownloadError, UnreachableError, download
from .images import MAX_IMAGE_BYTES, MAX_PIXELS, opened_image
from .lease import HeldError, Lease, LostLeaseError, leased
from .locks import locked_file
from .progress import ProgressLine
from .reading import (
    check_fields,
    open_regular,
    parse_json,
    read_csv,
    read_if_whole,
    read_json,
    read_regular,
    read_text,
    read_xml,
)
from .remote import MEMORY, RemoteError, RemoteFolder, is_remote
from .shipped import find_config, shipped_configs, shipped_root
from .verified import atomic_writer, difference, file_digest

__all__ = ['MAX_IMAGE_BYTES', 'MAX_PIXELS', 'MEMORY', 'DownloadError', 'HeldError', 'Lease',
           'LostLeaseError', 'ProgressLine', 'RemoteError', 'RemoteFolder', 'UnreachableError',
           'atomic_writer', 'check_fields', 'difference', 'download', 'file_digest', 'find_config',
           'is_remote', 'leased', 'locked_file', 'map_npy', 'map_npz', 'open_regular', 'opened_image',
           'parse_json', 'read_csv', 'read_if_whole', 'read_json', 'read_npz', 'read_regular', 'read_text',
           'read_xml', 'shipped_configs', 'shipped_root', 'unpack']
