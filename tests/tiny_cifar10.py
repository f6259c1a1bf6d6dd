"""A made-up CIFAR-10 of six batches with 24 images each, in both official layouts."""

import hashlib
import struct
from pathlib import Path

import numpy as np

from mmsimclr.datasets import cifar10 as cifar10_format

NUM_IMAGES = 24
NAMES = [f'data_batch_{number}' for number in range(1, 6)] + ['test_batch']


class TinyCIFAR10:
    """Images uint8 [24, 32, 32, 3] and labels [24] by batch name, and writers of the layouts."""

    def __init__(self):
        random = np.random.RandomState(7)
        self.images = {name: random.randint(0, 256, (NUM_IMAGES, 32, 32, 3)).astype(np.uint8)
                       for name in NAMES}
        self.labels = {name: random.randint(0, 10, NUM_IMAGES).tolist() for name in NAMES}

    def binary(self, name: str) -> bytes:
        """Spell out the binary layout: a label, then all red, all green, all blue values."""
        content = bytearray()
        for image, label in zip(self.images[name], self.labels[name], strict=True):
            content.append(label)
            for channel in range(3):
                for row in range(32):
                    content.extend(image[row, :, channel].tobytes())
        return bytes(content)

    def pickled(self, name: str) -> bytes:
        """Spell out the pickle Python 2 wrote: byte strings, and numpy's old module names."""
        data = np.frombuffer(self.binary(name), np.uint8).reshape(NUM_IMAGES, 3073)[:, 1:].tobytes()
        array = (b'cnumpy.core.multiarray\n_reconstruct\n' + b'cnumpy\nndarray\n'
                 + b'K\x00\x85' + b'U\x01b' + b'\x87R'
                 + b'(K\x01' + b'K' + bytes([NUM_IMAGES]) + b'M\x00\x0c' + b'\x86'
                 + b'cnumpy\ndtype\n' + b'U\x02u1K\x00K\x01\x87R'
                 + b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
                 + b'\x89' + b'T' + struct.pack('<i', len(data)) + data + b'tb')
        labels = b'](' + b''.join(b'K' + bytes([label]) for label in self.labels[name]) + b'e'
        return b'\x80\x02}(U\x04data' + array + b'U\x06labels' + labels + b'u.'

    def write_binary(self, folder: Path) -> Path:
        """Write all batches in the binary layout."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (folder / f'{name}.bin').write_bytes(self.binary(name))
        return folder

    def write_pickled(self, folder: Path) -> Path:
        """Write all batches in the pickle layout."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (folder / name).write_bytes(self.pickled(name))
        return folder

    def make_official(self, monkeypatch) -> None:
        """Let the table of official sums hold those of these batches."""
        batches = [cifar10_format.Batch(
            name, NUM_IMAGES, hashlib.md5(self.binary(name)).hexdigest(),
            hashlib.md5(self.pickled(name)).hexdigest()) for name in NAMES]
        monkeypatch.setitem(cifar10_format.BATCHES, 'train', tuple(batches[:5]))
        monkeypatch.setitem(cifar10_format.BATCHES, 'test', tuple(batches[5:]))
