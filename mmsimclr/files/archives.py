"""Unpacking of tar archives that are not trusted."""

import lzma
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmsimclr.errors import InputError

# Keeps a malicious archive from filling the disk; the files taken from archives have 31 MB at most.
MAX_MEMBER_BYTES = 64_000_000


def unpack(archive: Path, folder: Path, file_names: Sequence[str]) -> None:
    """Write the members of a tar archive that have one of ``file_names`` into an existing folder, flat.

    Raise InputError if the archive cannot be read to its end, or a member would lie or point outside of the
    folder, is a device, or has more than 64 MB.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name.replace('\\', '/'))
                tarfile.data_filter(member.replace(name=str(name)), folder)
                if name.is_absolute():
                    raise tarfile.AbsolutePathError(member)
                if member.isreg() and name.name in file_names:
                    if member.size > MAX_MEMBER_BYTES:
                        raise InputError(f'{archive} is refused: its member {member.name!r} has '
                                         f'{member.size} bytes')
                    tar.extract(member.replace(name=name.name), folder, set_attrs=False, filter='data')
    except tarfile.FilterError as error:
        raise InputError(f'{archive} is refused: its member {error.tarinfo.name!r} is a device, or lies or '
                         'points outside of the folder it is unpacked to') from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if getattr(error, 'errno', None) is not None:
            raise                                   # no fault of the archive: a full disk, missing rights
        raise InputError(f'{archive} is truncated or no tar archive: {error} '
                         f'({archive.stat().st_size} bytes)') from error
