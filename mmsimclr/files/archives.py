"""Unpacking of tar archives that are not trusted."""

import lzma
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Sequence

from mmsimclr.errors import InputError

# Keeps a malicious archive from filling the disk; the files taken from archives have 31 MB at most.
MAX_MEMBER_BYTES = 64_000_000


def unpack(archive: Path, folder: Path, file_names: Sequence[str]) -> None:
    """Write the members of a tar archive that have one of ``file_names`` into ``folder``, flat.

    Args:
        archive: The tar archive, compressed or not.
        folder: An existing folder.
        file_names: Names, without folders, of the members to write; others are passed over.

    Raises:
        ValueError: If the archive cannot be read to its end, or any member has an absolute path,
            a ``..``, is a link or a device, or is larger than 64 MB. The message names it.
        OSError: If a file cannot be written.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = PurePosixPath(member.name.replace('\\', '/'))
                if path.is_absolute() or '..' in path.parts or not (member.isreg() or
                                                                    member.isdir()):
                    raise InputError(f'{archive} is refused: its member {member.name!r} is a link '
                                     'or would lie outside the folder it is unpacked to')
                if member.isreg() and path.name in file_names:
                    if member.size > MAX_MEMBER_BYTES:
                        raise InputError(f'{archive} is refused: its member {member.name!r} has '
                                         f'{member.size} bytes')
                    with open(folder / path.name, 'wb') as file:
                        shutil.copyfileobj(tar.extractfile(member), file)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if getattr(error, 'errno', None) is not None:
            raise  # No fault of the archive: a full disk, missing rights.
        raise InputError(f'{archive} is truncated or no tar archive: {error} '
                         f'({archive.stat().st_size} bytes)') from error
