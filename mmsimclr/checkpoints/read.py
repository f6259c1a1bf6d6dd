"""Reading a file of tensors without running anything in it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmsimclr.checkpoints.errors import DamagedCheckpointError, UnsafeCheckpointError
from mmsimclr.checkpoints.unpickling import RefusedError, unpickle_arrays, unpickle_torch
from mmsimclr.files import file_digest

HASH_IN_NAME = re.compile(r'-([0-9a-f]{8})\.\w+$')
TORCH_LEGACY_MAGIC = b'\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19'
# What is not a checkpoint and often found in its place, by how it begins.
IMPOSTORS = {
    b'<': 'a web page (the download brought an error or login page)',
    b'version https://git-lfs': 'a Git LFS pointer (fetch the file itself: git lfs pull)',
    b'\x89HDF': 'an HDF5 file (Keras); TensorFlow checkpoints and SavedModels are read',
    b'\x1f\x8b': 'a gzip archive; unpack it first',
}


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: The file.
        sha256: Its content's SHA-256, hexadecimal.
        tree: Its content: nested dicts with tensors at some leaves.
        meta: What is said about the tensors: ``tree['meta']`` of OpenMMLab, a safetensors file's
            metadata.
    """

    path: Path
    sha256: str
    tree: Mapping
    meta: Mapping


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of torch, safetensors, or a pickle of arrays (Detectron2), on the CPU.

    Nothing in the file is run: torch's ``weights_only`` unpickler is used, with MMEngine's log history
    and numpy's arrays allowed. A pickle of arrays goes through an unpickler that knows numpy's arrays
    only. Settings that other trainers store beside the weights are passed over unread.

    Args:
        path: The file. If its name ends in ``-`` and eight hexadecimal digits, as in model zoos, they
            must begin its SHA-256.

    Returns:
        The content.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedCheckpointError: If the file is empty, cut off, not a checkpoint, or not the one its name
            promises.
        UnsafeCheckpointError: If reading it would run code; the message names what it would call.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint at {path}')
    if path.stat().st_size == 0:
        raise DamagedCheckpointError(f'{path} is empty (0 bytes): fetch or save it again')
    sha256 = file_digest(path, 'sha256')
    promised = HASH_IN_NAME.search(path.name)
    if promised and not sha256.startswith(promised[1]):
        date = ' (if that is a date, put something after it)' if promised[1].isdigit() else ''
        raise DamagedCheckpointError(f'{path} is not the file its name promises: its SHA-256 begins with '
                                     f'{sha256[:8]}, not {promised[1]}{date}. Fetch it again, or rename it '
                                     'if its origin is known')
    with open(path, 'rb') as file:
        start = file.read(32)
    if _is_safetensors(path, start):
        tree, meta = _read_safetensors(path)
    elif start.startswith(b'PK\x03\x04') or TORCH_LEGACY_MAGIC in start:
        tree = _unpickled(path, lambda: unpickle_torch(path))
        # A bare state dict of ours, which must hold tensors only, has its record in torch's _metadata.
        meta = tree.get('meta', getattr(tree, '_metadata', None)) if isinstance(tree, Mapping) else None
    elif start.startswith(b'\x80'):
        tree, meta = _unpickled(path, lambda: unpickle_arrays(path.read_bytes())), {}
    else:
        kind = next((kind for magic, kind in IMPOSTORS.items() if start.lstrip().startswith(magic)),
                    'of no known kind')
        raise DamagedCheckpointError(f'{path} is not a checkpoint, but {kind}')
    if not isinstance(tree, Mapping):
        raise DamagedCheckpointError(f'{path} is not a checkpoint: it holds a {type(tree).__name__}, not a '
                                     'dict of tensors')
    return Checkpoint(path, sha256, tree, meta if isinstance(meta, Mapping) else {})


def _unpickled(path: Path, unpickle: Callable[[], object]) -> object:
    try:
        return unpickle()
    except RefusedError as error:
        raise UnsafeCheckpointError(
            f'{path} is refused: reading it would call {error}, which is code, not weights. None of it was '
            'run. If you trust its origin, have it saved as a state dict (torch.save(model.state_dict(), '
            '...)) or as safetensors') from error
    except Exception as error:                              # a damaged file fails in any way
        raise _not_readable(path, error) from error


def _not_readable(path: Path, error: Exception) -> DamagedCheckpointError:
    # Of torch's unpickler only the last line is about the file; the others advise to read it unsafely.
    lines = str(error).split('WeightsUnpickler error: ')[-1].strip().splitlines()
    reason = lines[0][:200] if lines and 'weights_only' not in lines[0] else type(error).__name__
    return DamagedCheckpointError(f'{path} cannot be read ({path.stat().st_size} bytes; {reason}): it is cut '
                                  'off or damaged, or not a checkpoint. Fetch or save it again')


def _is_safetensors(path: Path, start: bytes) -> bool:
    """Whether the file begins as safetensors do: the header's length, then its JSON."""
    return path.suffix == '.safetensors' or (len(start) > 8 and start[8:9] == b'{'
                                             and int.from_bytes(start[:8], 'little') < path.stat().st_size)


def _read_safetensors(path: Path) -> tuple[dict, dict]:
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            meta = {key: _from_json(value) for key, value in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in [*file.keys()]}, meta
    except (SafetensorError, OSError) as error:
        raise _not_readable(path, error) from error


def _from_json(text: str) -> object:
    """Return what a metadata value says; safetensors knows text only."""
    try:
        return json.loads(text)
    except ValueError:
        return text
