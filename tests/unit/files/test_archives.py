"""Archives of strangers: nothing leaves the folder, nothing is larger than it may be."""

import io
import sys
import tarfile

import pytest

from mmsimclr.files import unpack


def write(path, name, content=b'', **attributes):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    with tarfile.open(path, 'a') as tar:
        tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def inner(tmp_path):
    (tmp_path / 'inner').mkdir()
    return tmp_path / 'inner'


def test_members_of_these_names_are_written_flat(tmp_path, inner):
    write(tmp_path / 'a.tar', 'deep/er/wanted', b'content')
    write(tmp_path / 'a.tar', 'deep/other', b'other')
    unpack(tmp_path / 'a.tar', inner, ['wanted'])
    assert [(path.name, path.read_bytes()) for path in inner.iterdir()] == [('wanted', b'content')]


@pytest.mark.parametrize('name, attributes', [
    ('a/../../wanted', {}), (r'..\evil', {}), ('/tmp/wanted', {}),
    ('wanted', dict(type=tarfile.SYMTYPE, linkname='/etc/hostname')),
    ('wanted', dict(type=tarfile.LNKTYPE, linkname='/etc/hostname')), ('wanted', dict(type=tarfile.CHRTYPE))])
def test_an_archive_that_reaches_outside_is_refused(tmp_path, inner, name, attributes):
    write(tmp_path / 'evil.tar', name, **attributes)
    with pytest.raises(ValueError, match=r'evil\.tar is refused: its member'):
        unpack(tmp_path / 'evil.tar', inner, ['wanted', 'evil'])
    assert not list(inner.iterdir())


def test_an_oversized_member_is_refused_before_it_is_written(tmp_path, inner, monkeypatch):
    monkeypatch.setattr(sys.modules[unpack.__module__], 'MAX_MEMBER_BYTES', 10)
    write(tmp_path / 'bomb.tar', 'wanted', b'x' * 11)
    with pytest.raises(ValueError, match="'wanted' has 11 bytes"):
        unpack(tmp_path / 'bomb.tar', inner, ['wanted'])
    assert not list(inner.iterdir())


def test_a_truncated_archive_is_named(tmp_path, inner):
    write(tmp_path / 'a.tar', 'wanted', bytes(5000))
    (tmp_path / 'a.tar').write_bytes((tmp_path / 'a.tar').read_bytes()[:2000])
    with pytest.raises(ValueError, match=r'a\.tar is truncated'):
        unpack(tmp_path / 'a.tar', inner, ['wanted'])
