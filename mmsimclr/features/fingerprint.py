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
    """Paths, sizes and labels of a dataset's images.

    Attributes:
        num_images: Number of images N.
        sha256: Hash, in order, of every image's path below the data root, size in bytes and label; of the
            pixels instead of path and size, where the images lie in memory.
        labels: int64 [N], or [N, K] where a label is K numbers; None without labels.
        longest_path: Characters of the longest path; 0 where the images have no files.
        times_sha256: Hash of the times at which the images' files were last written, in order.
    """

    num_images: int
    sha256: str
    labels: np.ndarray | None
    longest_path: int
    times_sha256: str


def list_images(dataset: Any) -> ImageList:
    """Go once through a dataset's annotations, in order.

    The dataset has ``len`` and MMEngine's ``get_data_info(i)``, a dict with ``img_path`` or ``img`` and
    perhaps ``gt_label``. Neither its pipeline nor its files' contents are used.

    Raises:
        TypeError: If it has no ``get_data_info``.
        ValueError: If it is empty, some images have labels and others none, or labels differ in length.
    """
    if not callable(getattr(dataset, 'get_data_info', None)):
        raise InputTypeError('images must be a folder or a dataset with get_data_info(i), as MMEngine, '
                             f'mmpretrain and mmsimclr have them, got {type(dataset).__name__}')
    if len(dataset) == 0:
        raise InputError(f'{type(dataset).__name__} is empty: there is nothing to extract features from')
    digest, times, labels, longest_path = hashlib.sha256(), hashlib.sha256(), [], 0
    root = os.path.join(str(getattr(dataset, 'data_root', '') or ''), '')
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path, label = info.get('img_path'), info.get('gt_label')
        if path is not None:
            longest_path = max(longest_path, len(path))
            try:
                stat = os.stat(path)
                size, time_ns = stat.st_size, stat.st_mtime_ns
            except OSError:
                size, time_ns = -1, 0       # whether that is an error is decided where the image is read
            digest.update(os.fsencode(path.removeprefix(root)) + f'\0{size}'.encode())
            times.update(f'{time_ns}\n'.encode())
        else:
            pixels = np.ascontiguousarray(info['img'])
            digest.update(f'{pixels.shape}'.encode())
            digest.update(pixels)
        labels.append(None if label is None else np.asarray(label).tolist())
        digest.update(f'\0{labels[-1]}\n'.encode())
    return ImageList(len(dataset), digest.hexdigest(), _as_array(labels), longest_path, times.hexdigest())


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
