"""From a training run's checkpoint to the file that others get."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmsimclr.checkpoints.errors import DamagedCheckpointError, LayoutError, listed
from mmsimclr.checkpoints.export.tensor_files import own_tensors
from mmsimclr.checkpoints.layouts import find_encoder
from mmsimclr.checkpoints.load import build_encoder, find_checkpoint
from mmsimclr.checkpoints.read import HASH_IN_NAME, read_checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, pack_record
from mmsimclr.errors import ExistingFileError
from mmsimclr.files import atomic_writer

PRIVATE_META = ('hook_msgs',)                                # state of hooks: paths, best scores


def publish_checkpoint(source: str | Path, destination: str | Path) -> Path:
    """Write a training run's model without what only training needs.

    The file holds ``state_dict``, the whole model on the CPU, and ``meta`` in plain types with the record of
    :mod:`mmsimclr.checkpoints.record`. Left out are the optimizer, the schedules, the message hub and the
    other state of hooks; MMEngine's EMA hook keeps the averaged weights in ``state_dict``, and those are
    published. Its name ends in the first eight digits of its SHA-256; the same source gives the same bytes,
    and so does what was published already.

    Args:
        source: A checkpoint of a run, or its work directory.
        destination: An existing folder, where the file takes the source's name; or the path to write,
            before the hash is added, with or without ``.pth``.

    Returns:
        The file, ``DESTINATION-0123abcd.pth``.

    Raises:
        LayoutError: If the source has no ``state_dict`` of a model, or no encoder in it.
        FileExistsError: If a different file has that name.
        CheckpointError: If the source cannot be read.
        FileNotFoundError: If there is no such source.
    """
    checkpoint = read_checkpoint(find_checkpoint(source))
    state_dict = checkpoint.tree.get('state_dict')
    if not isinstance(state_dict, Mapping):
        raise LayoutError(f'{checkpoint.path} is not a checkpoint of a training run: it has no state_dict, '
                          f'only {", ".join(list(map(str, checkpoint.tree))[:10])}. '
                          'tools/convert_checkpoint.py writes encoders of other layouts')
    tensors = {key: value for key, value in state_dict.items() if isinstance(value, Tensor)}
    if bad := [key for key, value in tensors.items() if not torch.isfinite(value).all()]:
        raise DamagedCheckpointError(
            f'{checkpoint.path} holds NaN or infinity in {len(bad)} of {len(tensors)} tensors: '
            f'{listed(bad)}. The run diverged; publish an earlier checkpoint')
    encoder = find_encoder(checkpoint)
    build_encoder(encoder)                                   # it is complete, or this raises
    record = pack_record(encoder)
    meta = {key: value for key, value in checkpoint.meta.items() if key not in PRIVATE_META}
    meta = _plain({RECORD_KEY: record, **meta})              # what was recorded before stands
    content = io.BytesIO()                                   # the name depends on the content
    torch.save({'meta': meta, 'state_dict': own_tensors(tensors)}, content)
    path = _name(checkpoint.path, Path(destination), hashlib.sha256(content.getbuffer()).hexdigest())
    if path.exists():
        if path.read_bytes() != content.getvalue():
            raise ExistingFileError(f'{path} exists and is another file; give another name')
    else:
        with atomic_writer(path) as file:
            file.write(content.getbuffer())
    return path


def _name(source: Path, destination: Path, sha256: str) -> Path:
    """Return the path whose name ends in the hash; a hash that is there already is replaced."""
    path = destination / source.name if destination.is_dir() else destination
    stem = HASH_IN_NAME.sub('', path.name).removesuffix('.pth')
    return path.with_name(f'{stem}-{sha256[:8]}.pth')


def _plain(value: object) -> object:
    """Return a value as types that any reader knows, without references shared within it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f'<{type(value).__name__}>'
