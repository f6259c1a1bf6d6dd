"""TensorFlow checkpoints: which files make one, and its variables, read when they are asked for.

Reading runs no code of the file: TensorFlow's checkpoint reader opens a table of arrays, and the graph of
objects beside them is plain data. No graph and no SavedModel is loaded, no device is used.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from math import prod
from pathlib import Path, PurePosixPath
from types import ModuleType

import numpy as np

from mmsimclr.checkpoints.encoder_weights import EncoderWeights
from mmsimclr.checkpoints.errors import CheckpointError, DamagedCheckpointError
from mmsimclr.checkpoints.key_maps.tensorflow_official import find_tensorflow_encoder

SHARD = re.compile(r'(.+)\.data-\d{5}-of-(\d{5})')
STATE = re.compile(r'^model_checkpoint_path: "(.+)"', re.MULTILINE)
OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'
VALUE = '/.ATTRIBUTES/VARIABLE_VALUE'
SLOT = '/.OPTIMIZER_SLOT/'
BOOKKEEPING = {'variables', 'trainable_variables', 'non_trainable_variables', 'trainable_variables_list',
               'keras_api'}


def is_tensorflow(path: str | Path) -> bool:
    """Whether a path means a TensorFlow checkpoint.

    Args:
        path: A prefix (``.../model.ckpt-1234``) whose ``.index`` file exists, that file or a ``.data-`` file
            itself, a folder with a ``checkpoint`` file that names one, or a SavedModel folder.
    """
    return _find_prefix(Path(path)) is not None


class TensorflowVariables(Mapping[str, np.ndarray]):
    """The variables of a checkpoint by name, without optimizer slots; an array is read when asked for.

    Variables of the object-based form are named by their path through the model's own structure, whatever
    list the file keeps them in.

    Attributes:
        path: The data file, the first one if there are several.
        num_slots: Optimizer slots that were passed over.
    """

    def __init__(self, prefix: Path, shards: list[Path]):
        tensorflow = _import_tensorflow()
        self.path = shards[0]
        self._shards = shards
        # What the reader raises for damage of one kind or another.
        self._errors = (tensorflow.errors.OpError, IndexError, RuntimeError, ValueError)
        try:
            self._reader = tensorflow.train.load_checkpoint(str(prefix))
        except self._errors as error:
            raise _damaged(f'{prefix}.index', error) from error
        dtypes = self._reader.get_variable_to_dtype_map()
        shapes = self._reader.get_variable_to_shape_map()
        graph = self._read(OBJECT_GRAPH) if OBJECT_GRAPH in dtypes else b''
        keys = [key for key, dtype in dtypes.items() if dtype != tensorflow.string]
        promised = len(graph) + sum(prod(shapes[key]) * dtypes[key].size for key in keys)
        size = sum(shard.stat().st_size for shard in shards)
        if size < promised:
            raise DamagedCheckpointError(f'{self.path} is cut off: {size} bytes, where its index promises '
                                         f'{promised}. Fetch it again')
        try:
            paths = object_paths(graph)
        except (ValueError, IndexError) as error:
            raise _damaged(self.path, error, OBJECT_GRAPH) from error
        self._keys = {paths.get(key, key.removesuffix(VALUE)): key for key in keys
                      if not _is_slot(key, dtypes)}
        self.num_slots = len(keys) - len(self._keys)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the data file, or of all of them one after the other, hexadecimal."""
        digest = hashlib.sha256()
        for shard in self._shards:
            with open(shard, 'rb') as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        return digest.hexdigest()

    def __getitem__(self, name: str) -> np.ndarray:
        return self._read(self._keys[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _read(self, key: str) -> np.ndarray | bytes:
        try:
            return self._reader.get_tensor(key)
        except self._errors as error:
            raise _damaged(self.path, error, key) from error


def object_paths(graph: bytes) -> dict[str, str]:
    """Return the shortest path to each variable through the objects that were saved.

    Args:
        graph: A serialized ``TrackableObjectGraph``; empty for none.

    Returns:
        By the variable's key in the file, its path; lists that Keras and the official SavedModels keep
        beside the model's own structure are no part of it.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    try:
        nodes = TrackableObjectGraph.FromString(graph).nodes
    except DecodeError as error:
        raise ValueError(f'the object graph is malformed: {error}') from error
    paths = {}
    queue, seen = deque([(0, '')] if nodes else []), {0}
    while queue:
        number, path = queue.popleft()
        paths |= {attribute.checkpoint_key: path for attribute in nodes[number].attributes
                  if attribute.name == 'VARIABLE_VALUE'}
        for child in nodes[number].children:
            if child.local_name not in BOOKKEEPING and child.node_id not in seen:
                seen.add(child.node_id)
                queue.append((child.node_id, f'{path}/{child.local_name}'.removeprefix('/')))
    return paths


def read_tensorflow(path: str | Path) -> TensorflowVariables:
    """Open a TensorFlow checkpoint, of the name-based (1.x) or the object-based (2.x) form.

    Args:
        path: See :func:`is_tensorflow`.

    Returns:
        Its variables.

    Raises:
        FileNotFoundError: If the path means no TensorFlow checkpoint.
        DamagedCheckpointError: If a file of it is missing, cut off or damaged. An array's checksum is
            tested when it is read.
        CheckpointError: If TensorFlow is not installed.
    """
    prefix = _find_prefix(Path(path))
    if prefix is None:
        raise FileNotFoundError(f'no TensorFlow checkpoint at {path}: give its prefix (.../model.ckpt-1234), '
                                "its .index file, a folder with a 'checkpoint' file, or a SavedModel folder")
    index = Path(f'{prefix}.index')
    if not index.is_file():
        raise DamagedCheckpointError(f'the checkpoint {prefix} lacks {index.name}: fetch it into the same '
                                     'folder')
    totals = {int(found[2]) for file in prefix.parent.iterdir()
              if (found := SHARD.fullmatch(file.name)) and found[1] == prefix.name}
    total = max(totals, default=1)
    shards = [Path(f'{prefix}.data-{number:05}-of-{total:05}') for number in range(total)]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise DamagedCheckpointError(f'the checkpoint {prefix} lacks {len(missing)} of {total} data files: '
                                     f'{", ".join(missing[:10])}. Fetch them into the same folder')
    return TensorflowVariables(prefix, shards)


def read_tensorflow_encoder(path: str | Path, select: str | None = None) -> EncoderWeights:
    """Read the encoder of an official SimCLR checkpoint; see ``find_tensorflow_encoder``.

    Args:
        path: See :func:`is_tensorflow`.
        select: Address of the encoder to take, where the file holds several.

    Raises:
        FileNotFoundError: If the path means no TensorFlow checkpoint.
        CheckpointError: If it is damaged, holds no such encoder, or one that is not built here, or if
            TensorFlow is not installed.
    """
    variables = read_tensorflow(path)
    try:
        encoder = find_tensorflow_encoder(variables, select)
    except CheckpointError as error:
        raise type(error)(str(error) if str(variables.path) in str(error)
                          else f'{variables.path}: {error}') from error
    others = {**encoder.others, 'optimizer': variables.num_slots} if variables.num_slots else encoder.others
    return replace(encoder, others=others).with_origin(variables.path, variables.sha256)


def _find_prefix(path: Path) -> Path | None:
    """Return the checkpoint's name without ``.index`` and ``.data-...``; None if there is none."""
    if path.is_dir():
        if (path / 'variables' / 'variables.index').is_file():
            return path / 'variables' / 'variables'
        state = path / 'checkpoint'
        named = STATE.search(state.read_text(encoding='utf-8', errors='replace')) if state.is_file() else None
        # It may name the folder of the machine that trained.
        return path / PurePosixPath(named[1]).name if named else None
    if path.is_file() and path.suffix == '.index':
        return path.with_suffix('')
    if path.is_file() and (shard := SHARD.fullmatch(path.name)):
        return path.with_name(shard[1])
    return path if path.with_name(f'{path.name}.index').is_file() else None


def _is_slot(key: str, keys: Mapping[str, object]) -> bool:
    """Whether a key is that of an optimizer's state: in TensorFlow 1 its name continues a variable's."""
    return SLOT in key or key.startswith('optimizer/') or key.rpartition('/')[0] in keys


def _damaged(path: object, error: Exception, part: str = '') -> DamagedCheckpointError:
    return DamagedCheckpointError(f'{path} cannot be read{f" at {part}" if part else ""} '
                                  f'({_first_line(error)}): it is cut off or damaged. Fetch it again')


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [''])[0][:200] or type(error).__name__


def _import_tensorflow() -> ModuleType:
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')          # it reports its CPU features on import
    try:
        import tensorflow
    except ImportError as error:
        raise CheckpointError("reading TensorFlow's checkpoints needs TensorFlow, which cannot be imported "
                              f"({_first_line(error)}): pip install 'mmsimclr[tensorflow]'") from error
    return tensorflow
