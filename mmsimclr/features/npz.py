"""The .npz format without holding its arrays in memory: packing files of one, mapping those of another."""

import io
import shutil
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_magic

from mmsimclr.files import atomic_writer

ALIGNMENT = 64              # of each member's first byte, and so, by the .npy format, of its array
_PADDING_ID = 0xD935        # what zipalign calls its extra field; any reader passes over it


def pack_npz(path: Path, arrays: Iterable[Path], text: dict[str, str]) -> None:
    """Copy files ``.npy`` into one uncompressed ``.npz``, whole or not at all.

    Equal content gives equal bytes: members carry no date.

    Args:
        path: The ``.npz``.
        arrays: Files of arrays; their names without the ending become the names in the archive.
        text: Strings by name, stored as arrays of no dimension.
    """
    with atomic_writer(path) as file, zipfile.ZipFile(file, 'w') as archive:
        for name, value in text.items():
            member = io.BytesIO()
            np.save(member, np.array(value))
            archive.writestr(zipfile.ZipInfo(f'{name}.npy'), member.getvalue())
        for source in arrays:
            info = zipfile.ZipInfo(source.name)
            # Fixed part, name, zip64 sizes and the padding's own head come before the array.
            head = file.tell() + 30 + len(source.name) + 20 + 4
            padding = -head % ALIGNMENT
            info.extra = struct.pack('<HH', _PADDING_ID, padding) + bytes(padding)
            with source.open('rb') as array, archive.open(info, 'w', force_zip64=True) as target:
                shutil.copyfileobj(array, target, 1 << 20)


def map_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that :func:`pack_npz` packed, by name, memory-mapped and read-only.

    Raises:
        zipfile.BadZipFile: If the file is cut off or no archive.
        ValueError: If a member is compressed, no array, or one of Python objects.
    """
    with zipfile.ZipFile(path) as archive, path.open('rb') as file:
        return {Path(info.filename).stem: _map_member(path, file, archive, info)
                for info in archive.infolist()}


def _map_member(path: Path, file: io.BufferedReader, archive: zipfile.ZipFile,
                info: zipfile.ZipInfo) -> np.ndarray:
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'{info.filename} is compressed')
    with archive.open(info) as member:
        if read_magic(member) != (1, 0):
            raise ValueError(f'{info.filename} is not in version 1.0 of the .npy format')
        shape, fortran_order, dtype = read_array_header_1_0(member)
        if dtype.hasobject:                         # mapped, their bytes would be taken for addresses
            raise ValueError(f'{info.filename} holds Python objects')
        head = member.tell()
    # The local header repeats the name and has extra fields of its own (APPNOTE.TXT, 4.3.7).
    file.seek(info.header_offset + 26)
    name_length, extra_length = struct.unpack('<HH', file.read(4))
    offset = info.header_offset + 30 + name_length + extra_length + head
    return np.memmap(path, dtype, 'r', offset, shape, order='F' if fortran_order else 'C')
