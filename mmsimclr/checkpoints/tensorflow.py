"""TensorFlow checkpoints of the official SimCLR code."""

import hashlib
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from mmsimclr.checkpoints.encoder_weights import (
    BASIC_DEPTHS,
    NUM_BLOCKS,
    UNIT_RANGE,
    EncoderWeights,
    check_finite,
)
from mmsimclr.checkpoints.errors import (
    CheckpointError,
    DamagedCheckpointError,
    IncompleteEncoderError,
    LayoutError,
    listed,
)
from mmsimclr.checkpoints.layouts import find_neck, infer_architecture
from mmsimclr.errors import MissingFileError, needing
from mmsimclr.files import read_text

NORM_EPS = 1e-5                                              # of the official norms
AVERAGE = 'ema_model/'
SHARD = re.compile(r'(.+)\.data-\d{5}-of-(\d{5})')
STATE = re.compile(r'^model_checkpoint_path: "(.+)"', re.MULTILINE)
OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'
# Lists that Keras and the official SavedModels keep beside the model's own structure.
BOOKKEEPING = {'variables', 'trainable_variables', 'non_trainable_variables', 'trainable_variables_list',
               'keras_api'}
# HWIO becomes OIHW, [in, out] becomes [out, in].
TORCH_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}
# The official variables of a batch norm, by torch's names.
NORM_VARIABLES = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean',
                  'running_var': 'moving_variance'}


def is_tensorflow(path: str | Path) -> bool:
    """Whether a path means a TensorFlow checkpoint.

    It is a prefix (``.../model.ckpt-1234``) whose ``.index`` file exists, that file or a ``.data-`` file, a
    folder with a ``checkpoint`` file that names one, or a SavedModel folder.
    """
    return _find_prefix(Path(path)) is not None


def _find_prefix(path: Path) -> Path | None:
    """Return the checkpoint's name without ``.index`` and ``.data-...``; None if there is none."""
    if path.is_dir():
        if (path / 'variables' / 'variables.index').is_file():
            return path / 'variables' / 'variables'
        state = path / 'checkpoint'
        named = STATE.search(read_text(state, 'a list of checkpoints')) if state.is_file() else None
        # It may name the folder of the machine that trained.
        return path / PurePosixPath(named[1]).name if named else None
    if path.is_file() and path.suffix == '.index':
        return path.with_suffix('')
    if path.is_file() and (shard := SHARD.fullmatch(path.name)):
        return path.with_name(shard[1])
    return path if path.with_name(f'{path.name}.index').is_file() else None


def read_tensorflow_encoder(path: str | Path, select: str | None = None) -> EncoderWeights:
    """Read the encoder of an official SimCLR checkpoint.

    Arguments and errors are those of :func:`read_tensorflow` and :func:`find_tensorflow_encoder`.
    """
    variables = read_tensorflow(path)
    try:
        encoder = find_tensorflow_encoder(variables, select)
    except CheckpointError as error:
        raise type(error)(str(error) if str(variables.path) in str(error)
                          else f'{variables.path}: {error}') from error
    others = {**encoder.others, 'optimizer': variables.num_slots} if variables.num_slots else encoder.others
    return replace(encoder, others=others, path=variables.path, sha256=variables.sha256)


def read_tensorflow(path: str | Path) -> 'TensorflowVariables':
    """Open a TensorFlow checkpoint, of the name-based (1.x) or the object-based (2.x) form.

    Raise MachineError if TensorFlow is not installed, and CheckpointError if a file is missing, cut off or
    damaged. An array's checksum is tested when it is read.
    """
    prefix = _find_prefix(Path(path))
    if prefix is None:
        raise MissingFileError(f'no TensorFlow checkpoint at {path}: give its prefix (.../model.ckpt-1234), '
                               "its .index file, a folder with a 'checkpoint' file, or a SavedModel folder")
    found = filter(None, (SHARD.fullmatch(file.name) for file in prefix.parent.iterdir()))
    total = max((int(shard[2]) for shard in found if shard[1] == prefix.name), default=1)
    shards = [Path(f'{prefix}.data-{number:05}-of-{total:05}') for number in range(total)]
    if missing := [file.name for file in (Path(f'{prefix}.index'), *shards) if not os.path.isfile(file)]:
        raise DamagedCheckpointError(f'the checkpoint {prefix} lacks {listed(missing)}: fetch them '
                                     'into the same folder')
    return TensorflowVariables(prefix, shards)


class TensorflowVariables(Mapping[str, np.ndarray]):
    """The variables of a checkpoint by name, without optimizer slots; an array is read when asked for.

    Names of the object-based form are paths through the model's own structure. ``path`` is the first data
    file; ``num_slots`` counts the slots.
    """

    def __init__(self, prefix: Path, shards: list[Path]):
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')   # it reports its CPU features on import
        with needing('tensorflow', "a checkpoint of TensorFlow's"):
            import tensorflow
        self.path, self._shards = shards[0], shards
        self._errors = (tensorflow.errors.OpError, IndexError, RuntimeError, ValueError)     # for damage
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
        # The name of an optimizer's slot continues a variable's in TensorFlow 1.
        slots = {key for key in keys if '/.OPTIMIZER_SLOT/' in key or key.startswith('optimizer/')
                 or key.rpartition('/')[0] in dtypes}
        self._keys = {paths.get(key, key.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')): key for key in keys
                      if key not in slots}
        self.num_slots = len(keys) - len(self._keys)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the data files one after the other, hexadecimal."""
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
    """Return, by each variable's key in the file, the shortest path to it through the saved objects.

    ``graph`` is a serialized ``TrackableObjectGraph``, or empty. No path leads through ``BOOKKEEPING``.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    try:
        nodes = TrackableObjectGraph.FromString(graph).nodes
    except DecodeError as error:
        raise DamagedCheckpointError(f'the object graph is malformed: {error}') from error
    paths, queue, seen = {}, deque([(0, '')] if nodes else []), {0}
    while queue:
        number, path = queue.popleft()
        paths |= {attribute.checkpoint_key: path for attribute in nodes[number].attributes
                  if attribute.name == 'VARIABLE_VALUE'}
        for child in nodes[number].children:
            if child.local_name not in BOOKKEEPING and child.node_id not in seen:
                seen.add(child.node_id)
                queue.append((child.node_id, f'{path}/{child.local_name}'.removeprefix('/')))
    return paths


def official_convolutions(depth: int) -> list[str]:
    """Return torchvision's names of the convolutions of a plain network, in the order of their creation."""
    names = ['conv1']
    for stage, num_blocks in enumerate(NUM_BLOCKS[depth], 1):
        for block in range(num_blocks):
            parts = ['downsample.0'] if block == 0 else []
            parts += ['conv1', 'conv2'] if depth in BASIC_DEPTHS else ['conv1', 'conv2', 'conv3']
            names += [f'layer{stage}.{block}.{part}' for part in parts]
    return names


def infer_depth(names: Iterable[str]) -> int:
    """Return the depth whose number of convolutions is nearest to that among the names, of either form."""
    num = sum(bool(re.fullmatch(r'(.+/)?conv2d(_\d+)?/kernel', name)) for name in names)
    return min(NUM_BLOCKS, key=lambda depth: abs(len(official_convolutions(depth)) - num))


class TensorFlow1Names:
    """Layers numbered through the network: ``base_model/conv2d_52/kernel``.

    A block's projection shortcut is numbered before its other layers. The projection head is
    ``head_contrastive/nl_0/dense/kernel``, ``head_contrastive/nl_0/batch_normalization/gamma``, ... The
    SimCLR v2 checkpoints have a moving average of both under ``ema_model/``. The methods take names without
    the prefix of the encoder, or of the head. Source: google-research/simclr, resnet.py and model_util.py.
    """

    layout = 'Google SimCLR, TensorFlow 1'
    encoder = 'base_model/'
    head = 'head_contrastive/'
    variable = re.compile(r'(.*?base_model/)(?:conv2d|batch_normalization)(?:_\d+)?/\w+')

    @staticmethod
    def layer_names(convolutions: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield the names of each convolution and its norm."""
        yield 'conv2d', 'batch_normalization'
        for number in range(1, len(convolutions)):
            yield f'conv2d_{number}', f'batch_normalization_{number}'

    @staticmethod
    def head_layer_names(names: Iterable[str]) -> list[tuple[str, str]]:
        """Return the names that the dense layer and the norm of each layer of the head should have."""
        scopes = {name.split('/')[0] for name in names}      # l_0 is the only layer of a linear head
        in_order = ['l_0'] if scopes == {'l_0'} else [f'nl_{number}' for number in range(len(scopes))]
        return [(f'{scope}/dense', f'{scope}/batch_normalization') for scope in in_order]


class TensorFlow2Names:
    """Paths through the model's objects: ``model/resnet_model/block_groups/1/layers/0/...``.

    The stem is ``model/resnet_model/initial_conv_relu_max_pool/0/conv2d/kernel``, the projection head
    ``model/_projection_head/linear_layers/0/dense/kernel``, ... The lists of a block also count the layers
    without variables (DropBlock). SavedModels have the same paths. The methods are as those of
    :class:`TensorFlow1Names`. Source: google-research/simclr, tf2/resnet.py and tf2/model.py.
    """

    layout = 'Google SimCLR, TensorFlow 2'
    encoder = 'resnet_model/'
    head = '_projection_head/linear_layers/'
    variable = re.compile(r'(.*?resnet_model/)(?:initial_conv_relu_max_pool|block_groups)/.+')

    @staticmethod
    def layer_names(convolutions: Sequence[str]) -> Iterator[tuple[str, str]]:
        # In a bottleneck DropBlock follows each convolution and norm.
        is_basic = 'layer1.0.conv3' not in convolutions
        layers, shortcut, step = ('conv2d_bn_layers', 'shortcut_layers', 2) if is_basic else (
            'conv_relu_dropblock_layers', 'projection_layers', 3)
        yield 'initial_conv_relu_max_pool/0/conv2d', 'initial_conv_relu_max_pool/2/bn'
        for name in convolutions[1:]:
            stage, block, part = name.removeprefix('layer').split('.', 2)
            place, folder = 0, shortcut
            if part != 'downsample.0':
                place, folder = step * (int(part[-1]) - 1), layers
            parent = f'block_groups/{int(stage) - 1}/layers/{block}/{folder}'
            yield f'{parent}/{place}/conv2d', f'{parent}/{place + 1}/bn'

    @staticmethod
    def head_layer_names(names: Iterable[str]) -> list[tuple[str, str]]:
        num_layers = len({name.split('/')[0] for name in names})
        return [(f'{number}/dense', f'{number}/bn_relu/bn') for number in range(num_layers)]


Names = type[TensorFlow1Names] | type[TensorFlow2Names]


def find_tensorflow_encoder(variables: Mapping[str, np.ndarray], select: str | None = None) -> EncoderWeights:
    """Return the encoder of an official checkpoint of SimCLR, v1 or v2, in its TensorFlow 1 or 2 form.

    ``variables`` are by name, or by the path through the model's objects; only the encoder's and its head's
    are read. ``select`` is the address or prefix of the encoder to take, where the file has a moving average
    beside the trained weights; by default, the one that is not an average. Errors are those of
    :func:`~mmsimclr.checkpoints.layouts.find_encoder`.
    """
    form, prefix, alternatives = _choose(variables, select)
    depth = infer_depth(name.removeprefix(prefix) for name in variables if name.startswith(prefix))
    wanted, convolutions = {}, official_convolutions(depth)
    for key, (conv, norm) in zip(convolutions, form.layer_names(convolutions), strict=True):
        wanted |= {f'{key}.weight': f'{conv}/kernel', **_norm(key, norm)}
    tensors = _collect(variables, prefix, wanted, f'a ResNet-{depth}')
    settings = {**infer_architecture(tensors), 'norm_eps': NORM_EPS}
    if settings['stem'] == 'imagenet':
        settings['stem_pool'] = 'same'
    parent = prefix.removesuffix(form.encoder)
    neck, neck_settings = _find_head(variables, parent + form.head, form)
    used = (prefix, parent + form.head) if neck else (prefix,)
    return EncoderWeights(
        tensors=tensors, settings=settings, input=UNIT_RANGE,
        layout=form.layout + (', moving average' if AVERAGE in prefix else ''), address=f':{prefix}',
        neck=neck, neck_settings=neck_settings, alternatives=alternatives,
        others=Counter(name.removeprefix(parent).split('/')[0] for name in variables
                       if not name.startswith(used)))


def _choose(variables: Mapping[str, np.ndarray], select: str | None) -> tuple[Names, str, tuple[str, ...]]:
    """Return the form and prefix of the encoder to take, and the addresses of the others."""
    found = {}
    for form in (TensorFlow1Names, TensorFlow2Names):
        matches = filter(None, map(form.variable.fullmatch, variables))
        found |= dict.fromkeys(sorted({match[1] for match in matches}), form)
    if not found:
        parts = Counter('/'.join(name.split('/')[:2]) for name in variables).most_common()
        raise LayoutError(
            f'of {len(variables)} variables, none is that of a SimCLR encoder (base_model/conv2d..., or '
            'model/resnet_model/... in the object-based form). Their names begin with '
            f'{listed(f"{part} ({count})" for part, count in parts)}')
    chosen = min(found, key=lambda prefix: AVERAGE in prefix) if select is None else select.removeprefix(':')
    if chosen not in found:
        raise LayoutError(f'no encoder at {select!r}; there is {listed(f":{prefix}" for prefix in found)}')
    return found[chosen], chosen, tuple(f':{prefix}' for prefix in found if prefix != chosen)


def _norm(layer: str, name: str) -> dict[str, str]:
    """Return the variables of the batch norm behind a layer, by their keys."""
    norm = layer.replace('downsample.0', 'downsample.1').replace('conv', 'bn').replace('fc', 'bn')
    return {f'{norm}.{ours}': f'{name}/{theirs}' for ours, theirs in NORM_VARIABLES.items()}


def _find_head(variables: Mapping[str, np.ndarray], prefix: str, form: Names
               ) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return the projection head and its settings; nothing if it is not built as the official one."""
    layers = form.head_layer_names(name.removeprefix(prefix) for name in variables if name.startswith(prefix))
    wanted = {}
    for i, (dense, norm) in enumerate(layers):
        wanted |= {f'fc{i}.weight': f'{dense}/kernel', **_norm(f'fc{i}', norm)}
    wanted.pop(f'bn{len(layers) - 1}.bias', None)
    try:
        neck = _collect(variables, prefix, wanted, 'a projection head')
    except IncompleteEncoderError:
        return {}, {}
    _, settings = find_neck(neck, '')
    return (neck, settings) if settings else ({}, {})


def _collect(variables: Mapping[str, np.ndarray], prefix: str, wanted: Mapping[str, str], kind: str
             ) -> dict[str, Tensor]:
    """Return the variables under a prefix as torch's tensors; raise unless exactly those wanted are there.

    ``wanted`` are their names by key. Whether the shapes fit, the network says that is filled.
    """
    present = {name for name in variables if name.startswith(prefix)}
    names = {prefix + name for name in wanted.values()}
    problems = {'missing': sorted(names - present), 'left over': sorted(present - names)}
    if found := [f'{len(items)} {problem} ({listed(items)})' for problem, items in problems.items() if items]:
        raise IncompleteEncoderError(
            f'the variables at {prefix} are not those of {kind}, the nearest: {"; ".join(found)}. Plain '
            "ResNets of 18 to 152 layers are read, of Google's SimCLR v2 models those whose names end in sk0")
    tensors = {}
    for key, name in wanted.items():
        array = variables[prefix + name]
        array = array.transpose(TORCH_AXES.get(array.ndim, range(array.ndim)))
        tensors[key] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    check_finite({prefix + wanted[key]: tensor for key, tensor in tensors.items()}, 'the checkpoint')
    return tensors


def _damaged(path: object, error: Exception, part: str = '') -> DamagedCheckpointError:
    return DamagedCheckpointError(f'{path} cannot be read{f" at {part}" if part else ""} '
                                  f'({_first_line(error)}): it is cut off or damaged. Fetch it again')


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [''])[0][:200] or type(error).__name__
