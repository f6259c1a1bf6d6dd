"""The official files of CIFAR-10: their names, their md5 sums, and how to read them safely.

The unit throughout is the *record* of the binary version: one label byte, then 1024 red, 1024 green
and 1024 blue bytes in row order.
"""

import codecs
import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
BINARY_FOLDER = 'cifar-10-batches-bin'
PICKLE_FOLDER = 'cifar-10-batches-py'
RECORD_BYTES = 1 + 3 * 32 * 32
# The official pickles have about 31 MB; what is larger is no batch and is not read into memory.
MAX_PICKLE_BYTES = 40_000_000


@dataclass(frozen=True)
class Batch:
    """One official batch: its name, its number of images, and the md5 sums of both versions."""

    name: str
    num_images: int
    binary_md5: str
    pickle_md5: str

    @property
    def num_bytes(self) -> int:
        """Size of the binary version in bytes."""
        return self.num_images * RECORD_BYTES


# Binary sums: those of the members of the official cifar-10-binary.tar.gz; pickle sums: those of
# cifar-10-python.tar.gz, as torchvision checks them.
BATCHES = {
    'train': (
        Batch('data_batch_1', 10000,
              '5dd7e06a14cb22eb9f671a540d1b7c25', 'c99cafc152244af753f735de768cd75f'),
        Batch('data_batch_2', 10000,
              '5ea93a67294ea407fff1d09f752e9692', 'd4bba439e000b95fd0a9bffe97cbabec'),
        Batch('data_batch_3', 10000,
              '942cd6a4bcdd0dd3c604fbe906cb4421', '54ebc095f3ab1f0389bbae665268c751'),
        Batch('data_batch_4', 10000,
              'ae636b3ba5c66a11e91e8cb52e771fcb', '634d18415352ddfa80567beed471001a'),
        Batch('data_batch_5', 10000,
              '53f37980c15c3d472c316c40844f3f0d', '482c414d41f54cd18b22e5b47cb7c3cb'),
    ),
    'test': (
        Batch('test_batch', 10000,
              '803d5f7f4d78ea53de84dbe85f74fb6d', '40351d587109b95175f43aff81a1287e'),
    ),
}


def read_binary_batch(path: Path, batch: Batch) -> np.ndarray:
    """Read a ``.bin`` batch whose content is the official one.

    Args:
        path: The file.
        batch: Which batch it must be.

    Returns:
        Records, uint8 [N, 3073], read-only.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its size or md5 differs from the official one; the message names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing')
    if path.stat().st_size != batch.num_bytes:  # A large wrong file is not read at all.
        raise ValueError(f'{path} is truncated or wrong: expected {batch.num_bytes} bytes, '
                         f'got {path.stat().st_size}')
    return check_records(path.read_bytes(), batch, path)


def check_records(data: bytes, batch: Batch, origin: Path) -> np.ndarray:
    """Return ``data`` as records uint8 [N, 3073] if it is the official content of ``batch``.

    Args:
        data: Content of the binary version, as read or re-encoded.
        batch: Which batch it must be.
        origin: The file it comes from, for the message.

    Raises:
        ValueError: If it is anything else.
    """
    actual = _md5(data)
    if actual != batch.binary_md5:
        raise ValueError(f'{origin} does not hold the official {batch.name}: expected md5 '
                         f'{batch.binary_md5} of {batch.num_bytes} bytes in the binary layout, got '
                         f'{actual} of {len(data)} bytes')
    return np.frombuffer(data, np.uint8).reshape(batch.num_images, RECORD_BYTES)


def read_official_pickle(path: Path, batch: Batch) -> np.ndarray:
    """Read a batch of the pickle version, unpickling only a file with the official md5.

    Args:
        path: The file.
        batch: Which batch it must be.

    Returns:
        Records, uint8 [N, 3073].

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If its md5 differs from the official one; nothing is unpickled then.
    """
    data = _read_pickle_bytes(path)
    actual = _md5(data)
    if actual != batch.pickle_md5:
        raise ValueError(f'{path} is truncated or wrong: expected md5 {batch.pickle_md5}, got '
                         f'{actual} ({len(data)} bytes)')
    return _records_of_pickle(data, path)


def read_rebuilt_pickle(path: Path) -> np.ndarray:
    """Read a pickled batch of unknown origin; its content is for the caller to check.

    Nothing but numpy arrays and plain Python containers can come out of it: see
    :class:`ArrayUnpickler`.

    Args:
        path: The file.

    Returns:
        Records, uint8 [N, 3073].

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is no pickled CIFAR-10 batch, or asks for anything besides arrays.
    """
    return _records_of_pickle(_read_pickle_bytes(path), path)


def encode_records(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return records uint8 [N, 3073] from images uint8 [N, 32, 32, 3] (RGB) and labels [N]."""
    records = np.empty((len(images), RECORD_BYTES), np.uint8)
    records[:, 0] = labels
    records[:, 1:] = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return records


def decode_images(records: np.ndarray) -> np.ndarray:
    """Return images uint8 [N, 32, 32, 3] (RGB), a strided view of records uint8 [N, 3073]."""
    return records[:, 1:].reshape(len(records), 3, 32, 32).transpose(0, 2, 3, 1)


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler that can build numpy arrays and plain containers, and nothing else.

    A pickle names the functions it wants called; only the handful that numpy's own pickles name are
    answered, so a manipulated file cannot run anything.
    """

    _example = np.empty(0, np.uint8)
    _functions = {
        **dict.fromkeys((('numpy.core.multiarray', '_reconstruct'),
                         ('numpy._core.multiarray', '_reconstruct')), _example.__reduce__()[0]),
        **dict.fromkeys((('numpy.core.numeric', '_frombuffer'),
                         ('numpy._core.numeric', '_frombuffer')), _example.__reduce_ex__(5)[0]),
        ('numpy', 'ndarray'): np.ndarray,
        ('numpy', 'dtype'): np.dtype,
        ('_codecs', 'encode'): codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the function or class a pickle asks for, if it is one of those admitted."""
        try:
            return self._functions[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f'it asks for {module}.{name}, which no CIFAR-10 batch needs') from None


def _md5(data: bytes) -> str:
    # The sums guard against damage, not against an attacker; says so to FIPS builds of OpenSSL.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _read_pickle_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing')
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise ValueError(f'{path} is no CIFAR-10 batch: {path.stat().st_size} bytes, where the '
                         'official ones have about 31 million')
    return path.read_bytes()


def _records_of_pickle(data: bytes, path: Path) -> np.ndarray:
    try:
        # Written by Python 2: latin1 carries its byte strings over unchanged.
        content = ArrayUnpickler(io.BytesIO(data), encoding='latin1').load()
        content = {key.decode() if isinstance(key, bytes) else key: content[key] for key in content}
        pixels, labels = content['data'], np.asarray(content['labels'])
    except Exception as error:  # A damaged pickle can raise nearly anything.
        raise ValueError(f'{path} cannot be read as a pickled CIFAR-10 batch: '
                         f'{type(error).__name__}: {error}') from error
    is_batch = (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
                and pixels.shape == (len(labels), RECORD_BYTES - 1)
                and labels.dtype.kind in 'iu' and labels.min() >= 0 and labels.max() <= 9)
    if not is_batch:
        raise ValueError(f'{path} is no CIFAR-10 batch: it needs data, uint8 [N, 3072], and N '
                         'labels from 0 to 9')
    return np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1)
