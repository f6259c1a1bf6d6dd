"""Numpy's arrays from pickles that are not trusted: plain numbers come out, anything else is refused."""

import collections
import os
import pickle
from decimal import Decimal

import numpy as np
import pytest
from numpy._core.numeric import _frombuffer

from mmsimclr.files.unpickling import RefusedError, unpickle_arrays

ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(6, dtype='>i2').reshape(2, 3).T,
          np.array(['x', 'yz']), np.array([b'a', b'bc']), np.array([True, False]), np.zeros((0, 3)),
          np.array(2.5), np.array([1 + 2j])]


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_out_as_they_were(protocol):
    content = {'arrays': ARRAYS, 'number': np.float64(3.25), 'bytes': b'\xff\x00', 'text': 'ü',
               'order': collections.OrderedDict(a=(1, None))}
    data = pickle.dumps(content, protocol)
    got, expected = unpickle_arrays(data), pickle.loads(data)
    for array, by_pickle, original in zip(got.pop('arrays'), expected.pop('arrays'), ARRAYS, strict=True):
        np.testing.assert_array_equal(np.asarray(array), by_pickle, strict=True)
        np.testing.assert_array_equal(array, original)
    assert got == expected


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced

    def __str__(self):
        return self.reduced[0].__name__                      # the test's name must not have an address


class PointerType:
    """Pickles as numpy's type of objects, whose bytes are pointers."""

    def __reduce__(self):
        return np.dtype, ('O8', False, True), (3, '|', None, None, None, -1, -1, 63)


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('content, name', [
    (Calls(os.system, 'touch opened'), 'posix.system'), (Calls(eval, '1'), 'builtins.eval'),
    (Calls(np.fromfile, 'x'), 'numpy.fromfile'), (Decimal(1), 'decimal.Decimal'),
    (np.array([{}], dtype=object), 'numpy.dtype.object'), (np.zeros(1, [('a', 'f4')]), 'numpy.dtype.object'),
    (Calls(_frombuffer, b'A' * 16, PointerType(), (2,), 'C'), 'numpy.dtype.object'),
    (Calls(_frombuffer, 'AA', np.dtype('f8'), (2,), 'C'), 'numpy.ndarray.objects')], ids=str)
def test_anything_else_is_refused_by_name(content, name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError) as error:
        unpickle_arrays(pickle.dumps({'data': content}, protocol))
    assert str(error.value) == name and not (tmp_path / 'opened').exists()
