"""Publishing: from a training run's checkpoint to the file that others get."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmsimclr.checkpoints.encoder_weights import check_finite
from mmsimclr.checkpoints.errors import LayoutError, listed
from mmsimclr.checkpoints.export.tensor_files import own_tensors
from mmsimclr.checkpoints.layouts import find_encoder
from mmsimclr.checkpoints.load import build_encoder, find_checkpoint
from mmsimclr.checkpoints.read import HASH_IN_NAME, read_checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, pack_record
from mmsimclr.errors import ExistingFileError
from mmsimclr.files import atomic_writer


def publish_checkpoint(source: str | Path, destination: str | Path) -> Path:
    """Write a training run's model without what only training needs; return the file.

    It holds ``state_dict``, the whole model on the CPU, and ``meta`` in plain types with the record of
    :mod:`mmsimclr.checkpoints.record`. Of a run with MMEngine's EMA hook, the averaged weights are published.
    The same source gives the same bytes, and so does a file that was published already.

    Args:
        source: A checkpoint of a run, or its work directory.
        destination: An existing folder, where the file takes the source's name; or the path to write. The
            name ends in the first eight digits of its SHA-256: ``DESTINATION-0123abcd.pth``.

    Raises:
        FileExistsError: If a different file has that name.
        CheckpointError, FileNotFoundError: If the source cannot be read, or has no model with an encoder.
    """
    checkpoint = read_checkpoint(find_checkpoint(source))
    state_dict = checkpoint.tree.get('state_dict')
    if not isinstance(state_dict, Mapping):
        raise LayoutError(f'{checkpoint.path} is not a checkpoint of a training run: it has no state_dict, '
                          f'only {listed(checkpoint.tree)}. mmsimclr convert writes encoders of '
                          'other layouts')
    tensors = {key: value for key, value in state_dict.items() if isinstance(value, Tensor)}
    check_finite(tensors, checkpoint.path)
    encoder = find_encoder(checkpoint)
    build_encoder(encoder)                                   # it is complete, or this raises
    # Hooks' state holds paths and scores. A record that is in meta already stands.
    meta = {key: value for key, value in checkpoint.meta.items() if key != 'hook_msgs'}
    # In plain types that any reader knows, without references shared within it.
    meta = json.loads(json.dumps({RECORD_KEY: pack_record(encoder), **meta}, default=_plain, skipkeys=True))
    content = io.BytesIO()
    torch.save({'meta': meta, 'state_dict': own_tensors(tensors)}, content)
    path = Path(destination)
    if path.is_dir():
        path /= checkpoint.path.name
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    # A hash that the name has already is replaced.
    path = path.with_name(f'{HASH_IN_NAME.sub("", path.name).removesuffix(".pth")}-{sha256[:8]}.pth')
    if not path.exists():
        with atomic_writer(path) as file:
            file.write(content.getbuffer())
    elif path.read_bytes() != content.getvalue():
        raise ExistingFileError(f'{path} exists and is another file; give another name')
    return path


def _plain(value: object) -> object:
    """Return what stands for a value that JSON has no type for."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    return f'<{type(value).__name__}>'
