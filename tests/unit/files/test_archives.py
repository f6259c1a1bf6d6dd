"""Archives of strangers: nothing lands outside of the folder, and nothing fills the disk."""

import io
import tarfile

import pytest

from mmsimclr.files import unpack


def _evil_member(kind):
    member = tarfile.TarInfo({'parent': 'a/../../wanted', 'backslash': r'..\wanted',
                              'absolute': '/tmp/wanted'}.get(kind, 'wanted'))
    member.type = {'symlink': tarfile.SYMTYPE, 'hardlink': tarfile.LNKTYPE,
                   'device': tarfile.CHRTYPE}.get(kind, tarfile.REGTYPE)
    member.linkname = '/etc/hostname'
    return member


@pytest.mark.parametrize('kind', ['parent', 'backslash', 'absolute', 'symlink', 'hardlink', 'device'])
def test_an_archive_that_reaches_outside_is_refused(tmp_path, kind):
    with tarfile.open(tmp_path / 'evil.tar', 'w') as tar:
        tar.addfile(_evil_member(kind))
    (tmp_path / 'inner').mkdir()
    with pytest.raises(ValueError, match=r'evil\.tar is refused.*wanted'):
        unpack(tmp_path / 'evil.tar', tmp_path / 'inner', ['wanted'])
    assert not list((tmp_path / 'inner').iterdir())


def test_an_oversized_member_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr('mmsimclr.files.archives.MAX_MEMBER_BYTES', 10)
    with tarfile.open(tmp_path / 'bomb.tar', 'w') as tar:
        member = tarfile.TarInfo('wanted')
        member.size = 11
        tar.addfile(member, io.BytesIO(b'x' * 11))
    (tmp_path / 'inner').mkdir()
    with pytest.raises(ValueError, match="'wanted' has 11 bytes"):
        unpack(tmp_path / 'bomb.tar', tmp_path / 'inner', ['wanted'])
    assert not list((tmp_path / 'inner').iterdir())
