"""Arrays of numpy's files: those that numpy wrote are read, and no byte of anything else."""

import io
import struct
import zipfile

import numpy as np
import pytest

from mmsimclr.errors import InputError
from mmsimclr.files import map_npy, map_npz, read_npz

ARRAYS = [np.arange(12, dtype=np.float32).reshape(3, 4), np.asfortranarray(np.arange(6).reshape(2, 3)),
          np.array('text'), np.array(['a', 'bc', 'ä\U0001f600']), np.zeros((0, 7), np.float16),
          np.array(3.5), np.array([True, False]),
          np.arange(4, dtype=np.uint8), np.array([b'ab'])]


@pytest.mark.parametrize('array', ARRAYS, ids=lambda array: f'{array.dtype}-{array.shape}')
def test_what_numpy_wrote_is_read_as_it_is(tmp_path, array):
    np.save(tmp_path / 'a.npy', array)
    np.savez(tmp_path / 'plain.npz', a=array, b=np.arange(2))
    np.savez_compressed(tmp_path / 'small.npz', a=array)
    for got in (map_npy(tmp_path / 'a.npy'), map_npz(tmp_path / 'plain.npz', 'arrays')['a'],
                read_npz(tmp_path / 'plain.npz', 'arrays')['a'],
                read_npz(tmp_path / 'small.npz', 'arrays')['a']):
        assert got.dtype == array.dtype and got.shape == array.shape and np.array_equal(got, array)
    assert sorted(map_npz(tmp_path / 'plain.npz', 'arrays')) == ['a', 'b']


def npy(descr: str = "'<f4'", shape: str = '(4,)', data: bytes = bytes(16), order: str = 'False') -> bytes:
    """Return a .npy file of version 1.0 with any header."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b' ' * (-(len(text) + 11) % 64) + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text + data


HOSTILE = {
    'more than there is': npy(shape='(5,)'), 'less than there is': npy(shape='(3,)'),
    'overflow': npy(shape='(4294967296, 4294967296)'),
    'overflow to zero': npy(shape='(0, 99999999999999999)'),
    'negative': npy(shape='(-4,)'), 'a name': npy(shape='(True,)'), 'code': npy(shape='(__import__("os"),)'),
    'many digits': npy(shape=f'({"9" * 5000},)'), 'objects': npy("'|O'"), 'fields': npy("[('a', '<f4')]"),
    'no such type': npy("'<f3'"), 'no bytes each': npy("'<U0'", data=b''), 'big endian': npy("'>f4'"),
    'no character': npy("'<U1'", '(1,)', b'\xff\xff\xff\x7f'), 'version 2': b'\x93NUMPY\x02\x00' + npy()[8:],
    'deep': npy(shape='(' * 3000), 'empty': b'', 'cut off': npy()[:40], 'text': b'no array',
}


@pytest.mark.parametrize('content', HOSTILE.values(), ids=HOSTILE)
def test_a_header_that_does_not_fit_its_bytes_is_refused(tmp_path, content):
    (tmp_path / 'a.npy').write_bytes(content)
    with pytest.raises(InputError, match=r'a\.npy is damaged'):
        map_npy(tmp_path / 'a.npy')
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('a.npy', content)
        archive.writestr('secret.npy', npy(data=b'neighbouring byt'))
    for read in (map_npz, read_npz):
        with pytest.raises(InputError, match=r'a\.npz holds no arrays, or is damaged: a\.npy: '):
            read(tmp_path / 'a.npz', 'arrays')


def archive_of(**members: bytes) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, content in members.items():
            archive.writestr(f'{name}.npy', content)
    return bytearray(file.getvalue())


@pytest.mark.parametrize('size', [16, 160, 2 ** 31])
def test_a_member_that_claims_the_bytes_of_its_neighbour_is_refused(tmp_path, size):
    honest = npy()
    content = archive_of(a=npy(shape=f'({size // 4 + 4},)'), b=honest)
    for place in (content.find(b'PK\x01\x02') + 20, 18):        # of the directory and of the local header
        struct.pack_into('<II', content, place, len(honest) + size, len(honest) + size)
    (tmp_path / 'a.npz').write_bytes(content)
    for read in (map_npz, read_npz):
        with pytest.raises(InputError, match='damaged'):
            read(tmp_path / 'a.npz', 'arrays')


def test_a_name_that_is_there_twice_a_compressed_one_and_a_larger_one_are_refused(tmp_path):
    np.savez_compressed(tmp_path / 'small.npz', a=np.zeros(1000))
    with pytest.raises(InputError, match='compressed'):
        map_npz(tmp_path / 'small.npz', 'arrays')
    with pytest.raises(InputError, match='larger than the 8,000 bytes'):
        read_npz(tmp_path / 'small.npz', 'arrays', max_bytes=8_000)
    with zipfile.ZipFile(tmp_path / 'twice.npz', 'w') as archive:
        archive.writestr('a.npy', npy())
        archive.writestr('b/a.npy', npy())
    with pytest.raises(InputError, match='twice'):
        read_npz(tmp_path / 'twice.npz', 'arrays')
