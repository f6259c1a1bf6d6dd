"""Files: downloads that resume, digests, atomic writing, guarded reading, leases, locks and progress."""

from .arrays import map_npy, map_npz, read_npz
from .download import DownloadError, UnreachableError, download, locked_file, unpack
from .lease import HeldError, Lease, LostLeaseError, leased
from .progress import ProgressLine
from .rasters import KEPT_DTYPES, Raster, decode_raster, is_raster, picture_values, raster_of
from .reading import (
    MAX_IMAGE_BYTES,
    MAX_PIXELS,
    check_fields,
    open_regular,
    opened_image,
    parse_json,
    read_csv,
    read_if_whole,
    read_json,
    read_regular,
    read_text,
    read_xml,
)
from .remote import RemoteError, RemoteFolder, is_remote
from .shipped import find_config, shipped_configs, shipped_root
from .verified import atomic_writer, difference, file_digest, write_json
