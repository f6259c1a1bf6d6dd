"""Unpickling of numpy's arrays from files that are not trusted."""

import io
import pickle
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

# Kinds of numpy's types whose bytes are values: bool, integers, floats, complex, fixed strings.
PLAIN_KINDS = 'biufcSU'


class RefusedError(Exception):
    """A pickle asks for a name that is not allowed; the message is the name, as Python 3 has it."""

    def __init__(self, name: str) -> None:
        module, dot, attribute = name.rpartition('.')        # pickles of protocol 2 have Python 2's modules
        super().__init__(f'{IMPORT_MAPPING.get(module, module)}{dot}{attribute}')


def unpickle_arrays(data: bytes) -> object:
    """Return the arrays and plain containers of a pickle; raise RefusedError if it asks for anything else.

    Damage raises whatever the unpickler comes upon. Byte strings of Python 2 are read as latin1.
    """
    return ArrayUnpickler(io.BytesIO(data), encoding='latin1').load()


class ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's arrays and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        """Return what stands for a name of the file."""
        if (module, name) == ('_codecs', 'encode'):          # how protocol 2 stores bytes
            return lambda text, encoding: text.encode('latin1')
        if (module, name) == ('__builtin__', 'bytes'):       # and none
            return lambda: b''
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if f'{module}.{name}' in NUMPY_STAND_INS:
            return NUMPY_STAND_INS[f'{module}.{name}']
        raise RefusedError(f'{module}.{name}')


class _Dtype:
    """Stands for ``numpy.dtype``: a type whose bytes are values, and its byte order."""

    def __init__(self, code: object, align: bool = False, copy: bool = False) -> None:
        numpy_type = np.dtype(code) if isinstance(code, str) else None
        if numpy_type is None or numpy_type.kind not in PLAIN_KINDS or numpy_type.hasobject:
            raise RefusedError('numpy.dtype.object')
        self.numpy = numpy_type

    def __setstate__(self, state: tuple) -> None:
        _version, order, *structure = state
        if any(part not in (None, -1, 0) for part in structure[:3]) or order not in ('<', '>', '=', '|'):
            raise RefusedError('numpy.dtype.fields')
        if order in '<>':
            self.numpy = self.numpy.newbyteorder(order)


class _Array(np.ndarray):
    """Stands for ``numpy.ndarray``: filled from bytes of a plain type, and saved as a plain array."""

    def __new__(cls, *args, **kwargs):
        return np.ndarray.__new__(cls, (0,), 'b')

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, raw = state
        if isinstance(raw, str):                             # of Python 2
            raw = raw.encode('latin1')
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise RefusedError('numpy.ndarray.objects')
        super().__setstate__((1, tuple(shape), dtype.numpy, bool(is_fortran), raw))

    def __reduce__(self):
        return np.array(self).__reduce__()


def _reconstruct(*args) -> _Array:
    return _Array()


def _scalar(dtype: _Dtype, raw: bytes = b'') -> np.generic:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise RefusedError('numpy.object')
    return np.frombuffer(raw, dtype.numpy, count=1)[0]


def _frombuffer(raw: bytes | bytearray, dtype: _Dtype, shape: Sequence[int], order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
        raise RefusedError('numpy.ndarray.objects')
    return np.frombuffer(raw, dtype.numpy).reshape(shape, order=order)


# What an unpickler gets for the names in a file, which are those of numpy 1 or 2, for plain numbers and texts
# only: numpy's own types can be told to read any bytes as pointers.
NUMPY_STAND_INS = {
    'numpy.ndarray': _Array, 'numpy.dtype': _Dtype,
    **{f'numpy.{core}.{name}': stand_in for core in ('core', '_core') for name, stand_in in (
        ('multiarray._reconstruct', _reconstruct), ('multiarray.scalar', _scalar),
        ('numeric._frombuffer', _frombuffer))}}
