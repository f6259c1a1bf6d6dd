"""Verified and atomic files: digests, and writing that is whole or not there."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from mmsimclr.errors import InputError
from mmsimclr.files.reading import open_regular


def file_digest(path: str | Path, algorithm: str = 'sha256') -> str:
    """Return the hexadecimal digest of a file by an algorithm of :mod:`hashlib`."""
    # FIPS builds of OpenSSL refuse md5 for security; these sums are against damage, not against an attacker.
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open_regular(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def difference(path: str | Path, hashes: Mapping[str, str] | None = None, size: int | None = None) -> str:
    """Say how an existing file differs from what it should be; return an empty string if it does not.

    ``hashes`` are the expected hexadecimal digests by algorithm, ``{'md5': '...'}``, or at least 8 digits of
    them (else a ValueError); ``size`` is in bytes.
    """
    actual_size = Path(path).stat().st_size
    if size is not None and actual_size != size:
        return f'expected {size} bytes, got {actual_size}'
    for algorithm, expected in (hashes or {}).items():
        if len(expected) < 8:
            raise InputError(f'a digest must have at least 8 digits, got {algorithm} {expected!r}')
        actual = file_digest(path, algorithm)
        if not actual.startswith(expected.lower()):
            return f'expected {algorithm} {expected}, got {actual} ({actual_size} bytes)'
    return ''


@contextmanager
def atomic_writer(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file for writing so that it appears whole or not at all; make missing parent folders.

    A temporary file beside it takes its place when the block ends without an error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any, indent: int | None = 2) -> Path:
    """Write a value as JSON, whole or not at all, and return the path; ValueError at NaN and infinity."""
    with atomic_writer(path) as file:
        file.write((json.dumps(content, indent=indent, allow_nan=False) + '\n').encode())
    return Path(path)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, where possible, so that a rename outlives a power cut."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
