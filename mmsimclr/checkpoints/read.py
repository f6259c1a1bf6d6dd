"""Reading a file of tensors without running anything in it."""

import io
import json
import pickle
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmsimclr.checkpoints.errors import DamagedCheckpointError, UnsafeCheckpointError
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
# Classes of settings that other trainers pickle beside the weights. Their content is not needed:
# instances become empty dicts, and nothing is imported.
INERT_PACKAGES = ('argparse', 'classy_vision', 'hydra', 'lightly', 'lightning', 'lightning_fabric',
                  'lightning_utilities', 'mmcv', 'mmengine', 'omegaconf', 'pathlib', 'pytorch_lightning',
                  'solo', 'typing', 'vissl', 'yacs')
MAX_INERT = 100


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
        raise DamagedCheckpointError(f'{path} is not the file its name promises: its SHA-256 begins with '
                                     f'{sha256[:8]}, not {promised[1]}. Fetch it again, or rename it if '
                                     'its origin is known')
    with open(path, 'rb') as file:
        start = file.read(32)
    if _is_safetensors(path, start):
        tree, meta = _read_safetensors(path)
    elif start.startswith(b'PK\x03\x04') or TORCH_LEGACY_MAGIC in start:
        tree = _read_torch(path)
        # A bare state dict of ours, which must hold tensors only, has its record in torch's _metadata.
        meta = tree.get('meta', getattr(tree, '_metadata', None)) if isinstance(tree, Mapping) else None
    elif start.startswith(b'\x80'):
        tree, meta = _read_pickle(path), {}
    else:
        kind = next((kind for magic, kind in IMPOSTORS.items() if start.lstrip().startswith(magic)),
                    'of no known kind')
        raise DamagedCheckpointError(f'{path} is not a checkpoint, but {kind}')
    if not isinstance(tree, Mapping):
        raise DamagedCheckpointError(f'{path} is not a checkpoint: it holds a {type(tree).__name__}, not a '
                                     'dict of tensors')
    return Checkpoint(path, sha256, tree, meta if isinstance(meta, Mapping) else {})


def _read_torch(path: Path) -> object:
    inert: dict[str, object] = {}
    while True:
        try:
            if _is_script(path):
                raise _refusal(path, 'TorchScript')
            allowed = [*_harmless_globals(), *((_Inert, name) for name in inert)]
            with torch.serialization.safe_globals(allowed):
                return torch.load(path, map_location='cpu', weights_only=True)
        except pickle.UnpicklingError as error:
            name = _refused_global(str(error))
            if name is None:
                raise _not_readable(path, error) from error
            if name.split('.')[0] not in INERT_PACKAGES or name in inert or len(inert) == MAX_INERT:
                raise _refusal(path, name) from error
            inert[name] = None
        except UnsafeCheckpointError:
            raise
        except Exception as error:                  # a damaged file fails in any way
            raise _not_readable(path, error) from error


def _is_script(path: Path) -> bool:
    """Whether the file is a TorchScript archive, which torch.load would run whatever it is told."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(name).name == 'constants.pkl' for name in archive.namelist())


def _refused_global(message: str) -> str | None:
    """Return the name in torch's refusal of a global; None if it is about something else."""
    for pattern in (r'Unsupported global: GLOBAL ([\w.]+)', r'unsupported GLOBAL ([\w.]+)',
                    r'unrecognized function <[\w ]+ ([\w.]+)'):
        if found := re.search(pattern, message):
            return found[1]
    return None


def _refusal(path: Path, name: str) -> UnsafeCheckpointError:
    module, dot, attribute = name.rpartition('.')
    name = f'{IMPORT_MAPPING.get(module, module)}{dot}{attribute}'        # protocol 2 has Python 2's names
    return UnsafeCheckpointError(
        f'{path} is refused: reading it would call {name}, which is code, not weights. None of it was run. '
        'If you trust its origin, have it saved as a state dict (torch.save(model.state_dict(), ...)) or as '
        'safetensors')


def _not_readable(path: Path, error: Exception) -> DamagedCheckpointError:
    reason = (str(error).splitlines() or [''])[0][:200] or type(error).__name__
    return DamagedCheckpointError(f'{path} cannot be read ({path.stat().st_size} bytes; {reason}): it is cut '
                                  'off or damaged, or not a checkpoint. Fetch or save it again')


class _Inert:
    """Stands for a class that is not needed: making an instance gives an empty dict."""

    def __new__(cls, *args, **kwargs):
        return OrderedDict()


def _getattr_of_log_history(owner: object, name: str) -> object:
    """Give MMEngine's pickled log history its four statistics; anything else is refused."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr.{name}')


def _harmless_globals() -> Iterator[tuple[object, str]]:
    multiarray = (np._core if hasattr(np, '_core') else np.core).multiarray
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        yield multiarray._reconstruct, f'{module}._reconstruct'
        yield multiarray.scalar, f'{module}.scalar'
    yield np.ndarray, 'numpy.ndarray'
    yield np.dtype, 'numpy.dtype'
    for kind in {type(np.dtype(code)) for code in np.typecodes['All']} - {type(np.dtype('O'))}:
        yield kind, f'numpy.dtypes.{kind.__name__}'
    yield slice, 'builtins.slice'
    yield HistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'
    yield _getattr_of_log_history, 'builtins.getattr'


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's arrays and plain containers, and nothing else."""

    KNOWN = {name: value for value, name in _harmless_globals() if name.startswith('numpy.')} | {
        'collections.OrderedDict': OrderedDict}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ('_codecs', 'encode'):        # how protocol 2 stores bytes
            return lambda text, encoding: text.encode('latin1')
        try:
            return self.KNOWN[f'{module}.{name}']
        except KeyError:
            raise UnsafeCheckpointError(f'{module}.{name}') from None


def _read_pickle(path: Path) -> object:
    try:
        return _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding='latin1').load()
    except UnsafeCheckpointError as error:
        raise _refusal(path, str(error)) from None
    except Exception as error:                              # a damaged pickle fails in any way
        raise _not_readable(path, error) from error


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
