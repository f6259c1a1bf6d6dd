"""Reading a checkpoint file without running code in it."""

import io
import json
import pickle
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmsimclr.checkpoints.errors import DamagedCheckpointError, UnsafeCheckpointError
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import file_digest

# Kinds of numpy's types whose bytes are values: bool, integers, floats, complex, fixed strings.
PLAIN_KINDS = 'biufcSU'
STATISTICS = ('min', 'max', 'current', 'mean')
# Classes of settings that other trainers pickle beside the weights. Their content is not needed:
# instances become empty dicts, and nothing is imported.
INERT_PACKAGES = ('argparse', 'classy_vision', 'hydra', 'lightly', 'lightning', 'lightning_fabric',
                  'lightning_utilities', 'mmcv', 'mmengine', 'omegaconf', 'pathlib', 'pytorch_lightning',
                  'solo', 'typing', 'vissl', 'yacs')
MAX_INERT = 100


class RefusedError(Exception):
    """A pickle asks for what is not allowed; the message says for what."""


def unpickle_torch(path: Path) -> object:
    """Return what ``torch.save`` wrote, by torch's ``weights_only`` unpickler and the names below.

    Raises:
        RefusedError: If the file would call something.
        Exception: Any, if it is damaged.
    """
    _check_archive(path)
    inert: list[str] = []
    while True:
        allowed = [*_stand_ins(), *((_Inert, name) for name in inert)]
        try:
            with _only(allowed):
                return torch.load(path, map_location='cpu', weights_only=True)
        except pickle.UnpicklingError as error:
            name = _refused_name(str(error))
            if name is None:
                raise
            if name.split('.')[0] not in INERT_PACKAGES or name in inert or len(inert) == MAX_INERT:
                raise RefusedError(_modern(name)) from error
            inert.append(name)


def unpickle_arrays(content: bytes) -> object:
    """Return the arrays and plain containers of a pickle.

    Raises:
        RefusedError: If it names anything else.
        Exception: Any, if it is damaged.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding='latin1').load()
    except pickle.UnpicklingError as error:
        if (name := _refused_name(str(error))) is None:
            raise
        raise RefusedError(name) from error


@contextmanager
def _only(names: list[tuple[object, str]]) -> Iterator[None]:
    """Allow torch's unpickler these names, whatever else the process allows it."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals(names):
            yield
    finally:
        torch.serialization.add_safe_globals(before)


def _check_archive(path: Path) -> None:
    """Raise if a zip archive is a script, which torch would run whatever it is told, or has decayed.

    Torch does not look at the checksums that the archive holds.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(PurePosixPath(name).name == 'constants.pkl' for name in archive.namelist()):
            raise RefusedError('TorchScript')
        if (bad := archive.testzip()) is not None:
            raise InputError(f'the checksum of {bad} in it is wrong')


def _refused_name(message: str) -> str | None:
    """Return the name, or the deed, in torch's refusal; None if its message is of another kind."""
    for pattern in (r'Unsupported global: GLOBAL ([\w.]+)', r'unsupported GLOBAL ([\w.]+)',
                    r'unrecognized function <[\w ]+ ([\w.]+)', r"but got <class '([\w.]+)'>"):
        if found := re.search(pattern, message):
            return found[1]
    return None


def _modern(name: str) -> str:
    """Return a name as Python 3 has it; pickles of protocol 2 have Python 2's."""
    module, dot, attribute = name.rpartition('.')
    return f'{IMPORT_MAPPING.get(module, module)}{dot}{attribute}'


class _Inert:
    """Stands for a class that is not needed: making an instance gives an empty dict."""

    def __new__(cls, *args, **kwargs):
        return OrderedDict()


class _Dtype:
    """Stands for ``numpy.dtype``: a type whose bytes are values, and its byte order."""

    def __init__(self, code: object, align: bool = False, copy: bool = False) -> None:
        numpy_type = np.dtype(code) if isinstance(code, str) else None
        if numpy_type is None or numpy_type.kind not in PLAIN_KINDS or numpy_type.hasobject:
            raise pickle.UnpicklingError('Unsupported global: GLOBAL numpy.dtype.object')
        self.numpy = numpy_type

    def __setstate__(self, state: tuple) -> None:
        _version, order, *structure = state
        if any(part not in (None, -1, 0) for part in structure[:3]) or order not in ('<', '>', '=', '|'):
            raise pickle.UnpicklingError('Unsupported global: GLOBAL numpy.dtype.fields')
        if order in '<>':
            self.numpy = self.numpy.newbyteorder(order)


class _Array(np.ndarray):
    """Stands for ``numpy.ndarray``: filled from bytes of a plain type. It is saved as a plain array."""

    def __new__(cls, *args, **kwargs):
        return np.ndarray.__new__(cls, (0,), 'b')

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError('Unsupported global: GLOBAL numpy.ndarray.objects')
        super().__setstate__((1, tuple(shape), dtype.numpy, bool(is_fortran), raw))

    def __reduce__(self):
        return np.array(self).__reduce__()


def _reconstruct(*args) -> _Array:
    return _Array()


def _scalar(dtype: _Dtype, raw: bytes = b'') -> np.generic:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise pickle.UnpicklingError('Unsupported global: GLOBAL numpy.object')
    return np.frombuffer(raw, dtype.numpy, count=1)[0]


class _LogHistory(HistoryBuffer):
    """Stands for MMEngine's log history while its numbers are read; then it is one.

    MMEngine's own reader would also take over statistics from the file, for all histories of the process.
    """

    def __setstate__(self, state: dict) -> None:
        self._set_default_statistics()
        self.max_length = int(state['max_length'])
        self._log_history = np.array(state['_log_history'], dtype=float)
        self._count_history = np.array(state['_count_history'])
        self.__class__ = HistoryBuffer


def _no_statistic(owner: object, name: str) -> None:
    """Stand for the four statistics that a log history is pickled with; they are not taken over."""
    if owner is not _LogHistory or name not in STATISTICS:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr.{name}')


def _stand_ins() -> Iterator[tuple[object, str]]:
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        yield _reconstruct, f'{module}._reconstruct'
        yield _scalar, f'{module}.scalar'
    yield _Array, 'numpy.ndarray'
    yield _Dtype, 'numpy.dtype'
    yield slice, 'builtins.slice'
    yield _LogHistory, 'mmengine.logging.history_buffer.HistoryBuffer'
    yield _no_statistic, 'builtins.getattr'


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's arrays and plain containers, and nothing else."""

    KNOWN = {name: value for value, name in _stand_ins() if name.startswith('numpy.')} | {
        'collections.OrderedDict': OrderedDict}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ('_codecs', 'encode'):        # how protocol 2 stores bytes
            return lambda text, encoding: text.encode('latin1')
        try:
            return self.KNOWN[f'{module}.{name}']
        except KeyError:
            raise RefusedError(_modern(f'{module}.{name}')) from None


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
        raise MissingFileError(f'no checkpoint at {path}')
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
