"""Reading a checkpoint file without running code in it."""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import safe_open

from mmsimclr.checkpoints.errors import DamagedCheckpointError, UnsafeCheckpointError
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import file_digest, parse_json
from mmsimclr.files.unpickling import NUMPY_STAND_INS, RefusedError

HASH_IN_NAME = re.compile(r'-([0-9a-f]{8})\.\w+$')
TORCH_LEGACY_MAGIC = b'\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19'
# Files that are often found in the place of a checkpoint, by their first bytes.
IMPOSTORS = {
    b'<': 'a web page (the download brought an error or login page)',
    b'version https://git-lfs': 'a Git LFS pointer (fetch the file itself: git lfs pull)',
    b'\x89HDF': 'an HDF5 file (Keras); TensorFlow checkpoints and SavedModels are read',
    b'\x1f\x8b': 'a gzip archive; unpack it first',
    b'\x80': "a pickle not of torch's, of Detectron2 perhaps, which shows neither strides nor colour order",
}
# Classes of settings that other trainers pickle beside the weights become empty dicts; nothing is imported.
INERT_PACKAGES = ('argparse', 'classy_vision', 'hydra', 'lightly', 'lightning', 'lightning_fabric',
                  'lightning_utilities', 'mmcv', 'mmengine', 'omegaconf', 'pathlib', 'pytorch_lightning',
                  'solo', 'typing', 'vissl', 'yacs')
MAX_INERT = 100
ATTEMPTS = 5


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file."""

    path: Path
    sha256: str                                              # hexadecimal
    tree: Mapping                                            # nested dicts with tensors at some leaves
    meta: Mapping                                            # tree['meta'], or the metadata of safetensors


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of torch or safetensors, on the CPU.

    Nothing in the file is run, and settings that other trainers store beside the weights are passed over. If
    the file's name ends in ``-`` and eight hexadecimal digits, as in model zoos, they must begin its SHA-256.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedCheckpointError: If it is empty, cut off, no checkpoint, or not the one its name promises.
        UnsafeCheckpointError: If reading it would run code; the message names what it would call.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'no checkpoint at {path}')
    if path.stat().st_size == 0:
        raise DamagedCheckpointError(f'{path} is empty (0 bytes): fetch or save it again')
    for _ in range(ATTEMPTS):
        before, sha256 = path.stat(), file_digest(path)
        found = _checked_content(path, sha256)
        # A run may have put another file in its place meanwhile.
        if all(getattr(before, name) == getattr(path.stat(), name)
               for name in ('st_dev', 'st_ino', 'st_size', 'st_mtime_ns')):
            return Checkpoint(path, sha256, *found)
    raise DamagedCheckpointError(f'{path} was written anew each of {ATTEMPTS} times that it was read: wait '
                                 'for the end of the run that writes it, or take a copy')


def _checked_content(path: Path, sha256: str) -> tuple[Mapping, Mapping]:
    promised = HASH_IN_NAME.search(path.name)
    if promised and not sha256.startswith(promised[1]):
        date = ' (if that is a date, put something after it)' if promised[1].isdigit() else ''
        raise DamagedCheckpointError(f'{path} is not the file its name promises: its SHA-256 begins with '
                                     f'{sha256[:8]}, not {promised[1]}{date}. Fetch it again, or rename it '
                                     'if its origin is known')
    tree, meta = _content(path)
    if not isinstance(tree, Mapping):
        raise DamagedCheckpointError(f'{path} is not a checkpoint: it holds a {type(tree).__name__}, not a '
                                     'dict of tensors')
    return tree, meta if isinstance(meta, Mapping) else {}


def _content(path: Path) -> tuple[object, object]:
    """Return a file's tree and meta, by the reader that its first bytes call for."""
    with open(path, 'rb') as file:
        start = file.read(32)
    if path.suffix == '.safetensors' or (          # the length of a header, then the header, which is JSON
            start[8:9] == b'{' and int.from_bytes(start[:8], 'little') < path.stat().st_size):
        return _guarded(path, _read_safetensors)
    if start.startswith(b'PK\x03\x04') or TORCH_LEGACY_MAGIC in start:
        tree = _guarded(path, _unpickle_torch)
        # A bare state dict written here holds tensors only, and has its record in torch's _metadata.
        return tree, tree.get('meta', getattr(tree, '_metadata', None)) if isinstance(tree, Mapping) else None
    kind = next((kind for magic, kind in IMPOSTORS.items() if start.lstrip().startswith(magic)),
                'of no known kind')
    raise DamagedCheckpointError(f'{path} is not a checkpoint, but {kind}')


def _guarded(path: Path, read: Callable[[Path], object]) -> object:
    """Read a file; turn whatever goes wrong into an error that names it."""
    try:
        return read(path)
    except RefusedError as error:
        raise UnsafeCheckpointError(
            f'{path} is refused: reading it would call {error}, which is code, not weights. None of it was '
            'run. If you trust its origin, have it saved as a state dict (torch.save(model.state_dict(), '
            '...)) or as safetensors') from error
    except Exception as error:                               # a damaged file fails in any way
        # Of torch's unpickler only the last line is about the file; the others advise to read it unsafely.
        lines = str(error).split('WeightsUnpickler error: ')[-1].strip().splitlines()
        reason = lines[0][:200] if lines and 'weights_only' not in lines[0] else type(error).__name__
        raise DamagedCheckpointError(
            f'{path} cannot be read ({path.stat().st_size} bytes; {reason}): it is cut off or damaged, or '
            'not a checkpoint. Fetch or save it again') from error


def _read_safetensors(path: Path) -> tuple[dict, dict]:
    with safe_open(path, framework='pt', device='cpu') as file:
        tensors, meta = {key: file.get_tensor(key) for key in [*file.keys()]}, dict(file.metadata() or {})
    for key, text in meta.items():
        with suppress(InputError):                           # texts that are no JSON stay
            meta[key] = parse_json(text, str(path), 'metadata')
    return tensors, meta


def _unpickle_torch(path: Path) -> object:
    """Return what ``torch.save`` wrote, by torch's ``weights_only`` unpickler and STAND_INS."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # Torch would run a script in any case, and does not look at the checksums.
            if any(PurePosixPath(name).name == 'constants.pkl' for name in archive.namelist()):
                raise RefusedError('TorchScript')
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members) or sum(
                    member.file_size for member in members) > path.stat().st_size:
                raise InputError('its members are compressed or overlap, which torch does not write: they '
                                 'may be of any size')
            if (bad := archive.testzip()) is not None:
                raise DamagedCheckpointError(f'the checksum of {bad} in it is wrong')
    allowed = dict(STAND_INS)
    allowed_before = torch.serialization.get_safe_globals()  # which do not count here
    try:
        while True:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals([(value, name) for name, value in allowed.items()])
            try:
                return torch.load(path, map_location='cpu', weights_only=True)
            except pickle.UnpicklingError as error:
                name = _refused_name(str(error))
                if name is None:
                    raise
                if (name.split('.')[0] not in INERT_PACKAGES or name in allowed
                        or len(allowed) == len(STAND_INS) + MAX_INERT):
                    raise RefusedError(name) from error
                allowed[name] = _Inert
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed_before)


def _refused_name(message: str) -> str | None:
    """Return the name in a refusal of torch; None if the message is of another kind."""
    for pattern in (r'Unsupported global: GLOBAL ([\w.]+)', r'unsupported GLOBAL ([\w.]+)',
                    r'unrecognized function <[\w ]+ ([\w.]+)', r"but got <class '([\w.]+)'>"):
        if found := re.search(pattern, message):
            return found[1]
    return None


class _LogHistory(HistoryBuffer):
    """Stands for MMEngine's log history, whose reader would let a file set statistics of all histories."""

    def __setstate__(self, state: dict) -> None:
        self._set_default_statistics()
        self.max_length = int(state['max_length'])
        self._log_history = np.array(state['_log_history'], dtype=float)
        self._count_history = np.array(state['_count_history'])
        self.__class__ = HistoryBuffer


def _ignored_statistic(owner: object, name: str) -> None:
    """Stand for ``getattr``, which a pickled log history calls for its four statistics."""
    if owner is not _LogHistory or name not in ('min', 'max', 'current', 'mean'):
        raise RefusedError(f'getattr.{name}')


class _Inert:
    """Stands for a class that is not needed: making an instance gives an empty dict."""

    def __new__(cls, *args, **kwargs):
        return OrderedDict()


# Objects that torch's unpickler gets for the names in a file.
STAND_INS = NUMPY_STAND_INS | {
    'builtins.slice': slice,
    'mmengine.logging.history_buffer.HistoryBuffer': _LogHistory,
    'builtins.getattr': _ignored_statistic,
}
