"""Digests, and files that are written whole or not at all."""

import pytest

from mmsimclr.files import atomic_writer, difference, file_digest


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    with pytest.raises(KeyboardInterrupt), atomic_writer(path) as file:
        file.write(b'new and incomplete')
        raise KeyboardInterrupt
    assert path.read_bytes() == b'old'
    assert [entry.name for entry in tmp_path.iterdir()] == ['file']


def test_difference_names_size_then_digest(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'abc')
    sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'  # FIPS 180-2, B.1
    assert file_digest(path, 'sha256') == sha256
    assert difference(path, {'sha256': sha256.upper()}, 3) == ''
    assert difference(path, size=4) == 'expected 4 bytes, got 3'
    assert difference(path, {'md5': 'f' * 32}).startswith(f"expected md5 {'f' * 32}, got 9001")


def test_too_short_a_beginning_of_a_digest_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='at least 8 digits'):
        difference(tmp_path / 'file', {'md5': '1234567'})
