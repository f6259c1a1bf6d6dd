"""Hashes of what decides features: the encoder, the settings, the images."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mmsimclr.errors import InputError, InputTypeError
from mmsimclr.files import file_digest


def weights_sha256(module: nn.Module) -> str:
    """Return the SHA-256 of a network: its printed structure, which has eps and the like, and its tensors."""
    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def settings_sha256(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings that JSON can hold, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, allow_nan=False).encode()).hexdigest()


@dataclass(frozen=True)
class ImageList:
    """Paths, identities and labels of a dataset's N images.

    Attributes:
        sha256: Hash, in order, of every image's path below the data root, label and identity.
        list_sha256: The same without the identities.
        identities: Hash of each image, uint64 [N]: of its path below the data root, its size in bytes and the
            time of its last writing in nanoseconds; with ``verify`` of its content instead of the time; of
            the content alone where the dataset gives the image itself.
        labels: int64 [N], or [N, K] where a label is K numbers; None without labels.
        longest_path: Characters of the longest path; 0 where the images have no files.
        are_files: Whether each image is a file of its own, which may change.
    """

    num_images: int
    sha256: str
    list_sha256: str
    identities: np.ndarray
    labels: np.ndarray | None
    longest_path: int
    are_files: bool


def list_images(dataset: Any, verify: bool = False) -> ImageList:
    """Go once through a dataset's annotations, in order.

    The dataset has ``len`` and MMEngine's ``get_data_info(i)``, a dict with ``img_path`` or ``img`` and
    perhaps ``gt_label``. Its pipeline is not used, nor, without ``verify``, the content of files.
    """
    if not callable(getattr(dataset, 'get_data_info', None)):
        raise InputTypeError('images must be a folder or a dataset with get_data_info(i), as MMEngine, '
                             f'mmpretrain and mmsimclr have them, got {type(dataset).__name__}')
    if len(dataset) == 0:
        raise InputError(f'{type(dataset).__name__} is empty: there is nothing to extract features from')
    digest, labels, longest_path, are_files = hashlib.sha256(), [], 0, True
    identities = np.empty(len(dataset), np.uint64)
    root = os.path.join(str(getattr(dataset, 'data_root', '') or ''), '')
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path, label, image = info.get('img_path'), info.get('gt_label'), info.get('img')
        name = os.fsencode('' if path is None else path.removeprefix(root))
        labels.append(None if label is None else np.asarray(label).tolist())
        digest.update(name + f'\0{labels[-1]}\0'.encode())
        identity = hashlib.blake2b(name + b'\0', digest_size=8)
        if path is not None:
            longest_path = max(longest_path, len(path))
        if image is None:
            identity.update(_file_identity(path, verify).encode())
        else:                               # of a shard or an array: the path names no file of its own
            are_files = False
            content = image if isinstance(image, bytes) else np.ascontiguousarray(image)
            identity.update(f'{getattr(content, "shape", "encoded")}\0'.encode())
            identity.update(content)
        identities[index] = int.from_bytes(identity.digest(), 'little')
    list_sha256 = digest.hexdigest()
    digest.update(identities.astype('<u8'))
    return ImageList(len(dataset), digest.hexdigest(), list_sha256, identities, _as_array(labels),
                     longest_path, are_files)


def _file_identity(path: str, verify: bool) -> str:
    """Return a text that another file of the same path does not have."""
    try:
        stat = os.stat(path)
        if verify:
            return f'{stat.st_size} sha256 {file_digest(path)}'
        return f'{stat.st_size} {stat.st_mtime_ns}'
    except (OSError, InputError):
        return 'unreadable'                 # whether that is an error is decided where the image is read


def _as_array(labels: list) -> np.ndarray | None:
    missing = labels.count(None)
    if missing == len(labels):
        return None
    if missing:
        raise InputError(f'{missing} of {len(labels)} images have no gt_label; give all of them one, or none')
    try:
        array = np.asarray(labels)
    except ValueError:              # lists of different lengths
        array = np.asarray(labels, object)
    if array.dtype.kind not in 'iub':
        raise InputError('gt_label must be an integer, or a list of integers of one length (a 0 or 1 for '
                         f'each class, where an image has several); the first is {labels[0]!r}')
    return array.astype(np.int64)
