"""Guarded reading of numpy's files: .npy and .npz of plain numbers and text, in memory or mapped."""

import math
import os
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError, UserError
from mmsimclr.files.reading import open_regular

MAX_NPZ_BYTES = 4_000_000_000
MAX_CODE_POINT = 0x10FFFF
# What numpy writes for every array without fields (numpy.lib.format); nothing is evaluated.
_START, _MAX_START = b'\x93NUMPY\x01\x00', 10 + 0xFFFF
_HEADER = re.compile(rb"\{'descr': '([<|][biufcSU][1-9]\d{0,8})', 'fortran_order': (True|False), "
                     rb"'shape': \(([\d, ]*)\), \} *\n")
_ZIP_HEAD = 30                                  # bytes of a local header before the name; APPNOTE.TXT, 4.3.7


class _Layout:
    """Type, shape and first byte of an array, from the start of a .npy file of a known size."""

    def __init__(self, start: bytes, size: int) -> None:
        text = start[10:10 + int.from_bytes(start[8:10], 'little')]
        found = _HEADER.fullmatch(text) if start.startswith(_START) else None
        sides = [side.strip() for side in found[3].split(b',') if side.strip()] if found else []
        if found is None or any(not side.isdigit() or len(side) > 18 for side in sides):
            raise InputError('it is no .npy of version 1.0 of plain numbers or text')
        try:
            self.dtype = np.dtype(found[1].decode())
        except TypeError as error:
            raise InputError(f'it has the type {found[1].decode()}') from error
        self.shape, self.order = tuple(map(int, sides)), 'F' if found[2] == b'True' else 'C'
        self.offset = 10 + len(text)
        promised = self.offset + math.prod(self.shape) * self.dtype.itemsize
        # Of an empty array too, no other side may be beyond what numpy can count.
        if promised != size or math.prod(side or 1 for side in self.shape) >= 2 ** 55 or len(self.shape) > 32:
            raise InputError(f'its shape {list(self.shape)} and type {self.dtype} are of {promised:,} bytes, '
                             f'and there are {size:,}')

    def map(self, file: BinaryIO, begin: int, path: str | Path) -> ndarray:
        """Return the array, memory-mapped and read-only, of a file in which the .npy begins at a byte."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        array = np.memmap(file, self.dtype, 'r', begin + self.offset, self.shape, self.order)
        array.filename = os.path.abspath(path)              # by which joblib maps it in other processes too
        return _readable(array)

    def array(self, data: bytes) -> ndarray:
        """Return the array of the whole file's bytes."""
        return _readable(np.frombuffer(data, self.dtype, offset=self.offset).reshape(
            self.shape, order=self.order))


def _readable(array: ndarray) -> ndarray:
    if array.dtype.kind == 'U' and array.size and array.ravel('K').view(np.uint32).max() > MAX_CODE_POINT:
        raise InputError('its text has characters that there are not')
    return array


def map_npy(path: str | Path) -> ndarray:
    """Return the array of a .npy file, memory-mapped and read-only.

    Raise InputError if it is none, holds Python objects, or has more or fewer bytes than its shape needs.
    """
    with open_regular(path) as file:
        try:
            return _Layout(file.read(_MAX_START), file.seek(0, 2)).map(file, 0, path)
        except UserError as error:
            raise InputError(f'{path} is damaged: {error}') from error


def array_of_npy(data: bytes) -> ndarray:
    """Return the array in the bytes of a .npy file; raise InputError as :func:`map_npy` does."""
    return _Layout(data[:_MAX_START], len(data)).array(data)


def map_npz(path: str | Path, kind: str) -> dict[str, ndarray]:
    """Return the arrays of an uncompressed .npz by name, memory-mapped and read-only.

    No array reaches beyond its member, so none has bytes of another. Errors are those of :func:`read_npz`.
    """
    with open_regular(path) as file:
        def mapped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> ndarray:
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise InputError('it is compressed')
            with archive.open(info) as member:                  # compares the name with the local header's
                layout = _Layout(member.read(_MAX_START), info.file_size)
            # The local header repeats the name and has extra fields of its own.
            file.seek(info.header_offset)
            head = file.read(_ZIP_HEAD)
            begin = info.header_offset + _ZIP_HEAD + sum(
                int.from_bytes(head[place:place + 2], 'little') for place in (26, 28))
            if begin + info.file_size > archive.start_dir:
                raise InputError('it reaches beyond its place')
            return layout.map(file, begin, path)

        return _members(file, path, kind, mapped)


def read_npz(path: str | Path, kind: str, max_bytes: int = MAX_NPZ_BYTES) -> dict[str, ndarray]:
    """Return the arrays of an .npz by name, in memory, their checksums verified.

    ``kind`` says in messages what the file should be, and ``max_bytes`` bounds all arrays together. Raise
    InputError if it is no .npz, is damaged or larger, or holds Python objects.
    """
    with open_regular(path) as file:
        left = max_bytes

        def read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> ndarray:
            nonlocal left
            left -= info.file_size
            if left < 0:
                raise InputError(f'it is larger than the {max_bytes:,} bytes that are read')
            data = archive.read(info)
            return _Layout(data[:_MAX_START], len(data)).array(data)

        return _members(file, path, kind, read)


def _members(file: BinaryIO, path: str | Path, kind: str, read) -> dict[str, ndarray]:
    arrays: dict[str, ndarray] = {}
    name = ''
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                name = f'{info.filename}: '
                array = read(archive, info)
                if arrays.setdefault(Path(info.filename).stem, array) is not array:
                    raise InputError('it is there twice')
    except MemoryError:
        raise
    except Exception as error:                                  # a damaged archive fails in any way
        reason = str(error) or type(error).__name__
        raise InputError(f'{path} holds no {kind}, or is damaged: {name}{reason}') from error
    return arrays
