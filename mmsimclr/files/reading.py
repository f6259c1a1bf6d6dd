"""Guarded reading of files that others made: regular ones of a bounded size, text, JSON, XML, images."""

import csv
import io
import json
import math
import os
import stat
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from PIL import Image

from mmsimclr.errors import InputError, MissingFileError

# No manifest, record or result comes near; annotations of a whole dataset name their own bound.
MAX_JSON_BYTES = 64_000_000
# Deeper than anything written here or by COCO, and far from Python's own limit.
MAX_JSON_DEPTH = 50
# So every integer fits into int64.
MAX_INTEGER_DIGITS = 18
_CONTAINERS = (dict, list)
Read = TypeVar('Read')


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file for reading in bytes; raise InputError for a folder, a pipe or a device.

    It never waits, and it is the open file that is looked at, so nothing can take its place in between.
    """
    # Without O_NONBLOCK the call waits until someone writes into a pipe.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = 'folder' if stat.S_ISDIR(mode) else 'pipe, a socket or a device'
        raise InputError(f'{os.fspath(path)} is a {kind}, not a regular file')
    return os.fdopen(descriptor, 'rb')


def read_regular(path: str | os.PathLike, max_bytes: int) -> bytes:
    """Return the content of a regular file of at most ``max_bytes``; raise InputError for any other.

    Of a larger file nothing is read, however much of it is a hole.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise InputError(f'{os.fspath(path)} has {size:,} bytes, and at most {max_bytes:,} are read')
        return file.read(size)                                          # the bound itself would be set aside


def read_text(path: str | os.PathLike, kind: str, max_bytes: int = MAX_JSON_BYTES,
              errors: str = 'strict') -> str:
    """Return the content of a text file in UTF-8, of at most ``max_bytes``.

    Raise MissingFileError or InputError if it is not there, larger, no regular file, or not UTF-8; ``kind``
    says in the message what it should be. ``errors`` are those of :meth:`bytes.decode`.
    """
    try:
        return read_regular(path, max_bytes).decode(errors=errors)
    except FileNotFoundError as error:
        raise MissingFileError(f'no file at {os.fspath(path)}, which should be {kind}') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{os.fspath(path)} is not {kind}: it is not UTF-8 text: {error}') from error


def read_csv(path: str | os.PathLike, kind: str, columns: Sequence[str] = (), delimiter: str = ',',
             errors: str = 'strict') -> list[dict[str, str]]:
    """Return the rows of a table whose first line has the names of its columns; absent fields are ''.

    Raise InputError if it is no table, or has no rows or none of the ``columns``; errors and arguments of
    :func:`read_text` are added.
    """
    text = read_text(path, kind, errors=errors).removeprefix('\ufeff')
    try:
        reader = csv.DictReader(io.StringIO(text, newline=''), restval='', delimiter=delimiter)
        rows = [{name: row[name] for name in reader.fieldnames if name} for row in reader]
    except csv.Error as error:                      # a lone quote, after which a field does not end
        raise InputError(f'{os.fspath(path)} is not {kind}: {error}') from error
    if not rows or not set(columns) <= set(rows[0]):
        raise InputError(f'{os.fspath(path)} is not {kind}: its first line must have the columns '
                         f'{", ".join(columns) or "of a table"}, and rows must follow')
    return rows


def read_json(path: str | Path, kind: str, max_bytes: int = MAX_JSON_BYTES, finite: bool = True) -> Any:
    """Return the content of a JSON file, as :func:`parse_json` does; errors of :func:`read_text` are added.

    ``kind`` is the name of what the file should be, such as ``'a result of mmsimclr'``.
    """
    return parse_json(read_text(path, kind, max_bytes), os.fspath(path), kind, finite)


def parse_json(text: str | bytes, place: str, kind: str, finite: bool = True) -> Any:
    """Return the value of a JSON text, which may be bytes in UTF-8.

    Raise InputError if it is no JSON or no UTF-8, has a key twice in an object, an integer of more than 18
    digits, more than 50 levels or, with ``finite``, NaN or infinity, which Python writes. The message has
    ``place``, where the text comes from, and ``kind``, what it should be.
    """
    def constant(name: str) -> float:
        if finite:
            raise InputError(f'it has the number {name}')
        return float(name)

    def number(digits: str) -> float:
        value = float(digits)
        if finite and not math.isfinite(value):
            raise InputError(f'the number {digits:.40} is too large')
        return value

    try:
        if isinstance(text, bytes):
            text = text.decode()
        value = json.loads(text, parse_constant=constant, parse_float=number, parse_int=_integer,
                           object_pairs_hook=_unique)
    except RecursionError as error:
        raise InputError(f'{place} is not {kind}: it has more than {MAX_JSON_DEPTH} levels') from error
    except ValueError as error:                                 # UnicodeDecodeError and ours among them
        raise InputError(f'{place} is not {kind}: {error}') from error
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MAX_JSON_DEPTH):
        level = [child for node in level for child in (node.values() if type(node) is dict else node)
                 if type(child) in _CONTAINERS]
        if not level:
            return value
    raise InputError(f'{place} is not {kind}: it has more than {MAX_JSON_DEPTH} levels')


def read_if_whole(read: Callable[[Path], Read], path: Path) -> Read | None:
    """Return what ``read`` makes of a run's file; None where there is none, or a damaged one."""
    if not path.exists():
        return None
    try:
        return read(path)
    except (InputError, OSError) as error:
        print(f'it counts as not there: {error}', file=sys.stderr)
        return None


def read_xml(path: str | os.PathLike, kind: str, max_bytes: int = MAX_JSON_BYTES) -> ElementTree.Element:
    """Return the root of an XML file; errors are those of :func:`read_text`.

    expat bounds what entities expand to, and ElementTree follows none to other files.
    """
    try:
        return ElementTree.fromstring(read_regular(path, max_bytes))                        # nosec B314
    except FileNotFoundError as error:
        raise MissingFileError(f'no file at {os.fspath(path)}, which should be {kind}') from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:      # of encodings the latter
        if isinstance(error, InputError):
            raise
        raise InputError(f'{os.fspath(path)} is not {kind}: {error}') from error


def check_fields(value: Any, place: str, kind: str, fields: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """Return a value read from JSON if it is a dict that has all ``fields``, each of one of its types.

    Raises:
        InputError: If not; the message names the field, the value and what is accepted.
    """
    if not isinstance(value, dict):
        raise InputError(f'{place} is not {kind}: it must be a dict, got {type(value).__name__}')
    for name, types in fields.items():
        # Not isinstance, for which True is an int.
        if type(value.get(name)) not in types:
            accepted = ' or '.join('null' if each is type(None) else each.__name__ for each in types)
            got = f'{value[name]!r:.80}' if name in value else 'nothing'
            raise InputError(f'{place} is not {kind}: {name!r} must be {accepted}, got {got}')
    return value


def _integer(digits: str) -> int:
    if len(digits.lstrip('-')) > MAX_INTEGER_DIGITS:
        raise InputError(f'the integer {digits:.40} has more than {MAX_INTEGER_DIGITS} digits')
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        key, = Counter(key for key, _ in pairs).most_common(1)
        raise InputError(f'it has the key {key[0]!r:.80} {key[1]} times')
    return entries


# What a decompression bomb claims to have; Pillow's own limit, which it applies to what it decodes.
MAX_PIXELS = 2 * 89_478_485
# The largest image, uncompressed, with four channels.
MAX_IMAGE_BYTES = 4 * MAX_PIXELS
# Formats of pictures in pixels: Pillow would hand an EPS file, which is a program, to Ghostscript.
FORMATS = {'JPEG', 'PNG', 'GIF', 'WEBP', 'BMP', 'DIB', 'TIFF', 'PPM', 'JPEG2000', 'AVIF', 'ICO', 'TGA'}


@contextmanager
def opened_image(source: str | os.PathLike | bytes) -> Iterator[Image.Image]:
    """Open an image file, or its bytes, with its header read; nothing is decoded yet.

    Raises:
        InputError: If it is no regular file, or larger than the largest image is.
        Exception: Whatever Pillow raises; decoders of foreign bytes raise almost anything.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
        if (size := file.seek(0, os.SEEK_END)) > MAX_IMAGE_BYTES:
            raise InputError(f'{size:,} bytes, more than {MAX_IMAGE_BYTES:,}')
        file.seek(0)
        with Image.open(file, formats=_known_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f'{image.width} x {image.height} pixels, more than {MAX_PIXELS}')
            yield image


@cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(FORMATS & set(Image.OPEN))
