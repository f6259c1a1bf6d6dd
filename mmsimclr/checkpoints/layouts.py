"""Checkpoint layouts: the encoder found in a checkpoint, whatever library wrote it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mmsimclr.checkpoints.config_text import stated_scale
from mmsimclr.checkpoints.encoder_weights import (
    BASIC_DEPTHS,
    NUM_BLOCKS,
    EncoderWeights,
    InputScale,
    check_finite,
)
from mmsimclr.checkpoints.errors import DamagedCheckpointError, LayoutError, UnsupportedEncoderError, listed
from mmsimclr.checkpoints.read import Checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, unpack_record

TRUNK = re.compile(r'(conv1|bn1|layer[1-4])\.')
BLOCK = re.compile(r'layer([1-4])\.(\d+)\.conv([123])\.weight')
NUMBERED_STAGE = re.compile(r'(.*?)(\d+)\.0\.conv1\.weight')
COUNTER = 'num_batches_tracked'        # of batch norm; changes nothing unless its momentum is None
NECK_LAYER = re.compile(rf'(fc|bn)(\d+)\.(weight|bias|running_mean|running_var|{COUNTER})')
DEEP_STEM = re.compile(r'(^|\.)(stem\.0|conv1\.0)\.weight$')
TRANSFORMER = re.compile(r'(^|\.)(cls_token$|(blocks|layers)\.0\.attn\.)')
# Slowly moving copies of an encoder, which are not what "the encoder" means unless asked for.
COPY = re.compile(r'(^|[._:])(ema|momentum|target|teacher|encoder_k|key_encoder|shadow|averaged)')
SOLO_LEARN = 'solo-learn'
MAX_DEPTH = 20                                               # of dicts within dicts


@dataclass(frozen=True)
class _Candidate:
    """An encoder in a state dict: the name in the file of each of torchvision's keys."""

    place: str
    prefix: str
    names: Mapping[str, str]
    state_dict: Mapping[str, Tensor]
    style: str = 'torchvision'

    @property
    def address(self) -> str:
        return f'{self.place}:{self.prefix}'

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {key: self.state_dict[name] for key, name in self.names.items()}


def find_encoder(checkpoint: Checkpoint, select: str | None = None,
                 keys: Sequence[str] = ()) -> EncoderWeights:
    """Recognise the layout of a checkpoint and return its encoder.

    An encoder other than a ResNet is found by the record beside it. ResNets are found by their structure, a
    stem and four stages under any prefix, or numbered. Where there are several, ``select`` is the address of
    the one to take, e.g. ``'state_dict:encoder_k.'`` (messages list them), or its prefix; by default, the one
    that is no slowly moving copy. Where none is found, or the backbone's names, ``keys``, are no ResNet's,
    tensors of these names are taken for one.

    Raises:
        CheckpointError: If no encoder is recognised, several differ, none has the address, it is of a kind
            that is not built here, a tensor is not finite, or the file contradicts its own record.
    """
    state_dicts = dict(find_state_dicts(checkpoint.tree))
    record = checkpoint.meta.get(RECORD_KEY)
    stated, scale = unpack_record(record) if record else ({}, None)
    find = _recorded if 'type' in stated else _candidates
    candidates = [candidate for place, state_dict in state_dicts.items()
                  for candidate in find(place, state_dict)]
    of_any_kind = 'type' in stated
    if keys and not stated and (not candidates or 'conv1.weight' not in keys) and (named := [
            candidate for place, state_dict in state_dicts.items()
            for candidate in _of_names(place, state_dict, keys)]):
        candidates, of_any_kind = named, True
    if not candidates:
        raise _nothing_found(checkpoint, state_dicts)
    chosen = _choose(checkpoint, candidates, select)
    tensors = chosen.tensors
    check_finite(tensors, checkpoint.path)
    try:
        settings = {} if of_any_kind else infer_architecture(tensors)
    except UnsupportedEncoderError as error:
        raise UnsupportedEncoderError(f'{checkpoint.path}: {error}') from error
    layout = _layout(checkpoint, chosen)
    if layout.startswith(SOLO_LEARN) and settings.get('stem') == 'cifar':
        settings['stem_padding'] = 2         # solo/methods/base.py; its tensors do not show it
    scale = scale or stated_scale(checkpoint.meta) or InputScale()
    for name, value in settings.items():
        if stated.get(name, value) != value:
            raise DamagedCheckpointError(f'{checkpoint.path} says {name}={stated[name]!r} of its encoder, '
                                         f'whose tensors show {value!r}')
    settings |= stated
    if (channels := settings.get('in_channels', 3)) != len(scale.mean) and 'type' not in settings:
        raise UnsupportedEncoderError(f'{checkpoint.path}: the encoder takes images of {channels} channels, '
                                      f'their scale has {len(scale.mean)} (RGB, unless the file states it)')
    head_names, neck_settings = find_neck(chosen.state_dict, re.sub(r'backbone\.$', 'neck.', chosen.prefix))
    used = {*chosen.names.values(), *head_names.values()}
    others = Counter((name if place == chosen.place else place).split('.')[0]
                     for place, names in state_dicts.items() for name in names
                     if place != chosen.place or name not in used)
    return EncoderWeights(
        tensors=tensors, settings=settings, input=scale, layout=layout, address=chosen.address,
        neck={key: chosen.state_dict[name] for key, name in head_names.items()}, neck_settings=neck_settings,
        others=others, alternatives=tuple(c.address for c in candidates if c is not chosen),
        path=checkpoint.path, sha256=checkpoint.sha256)


def find_state_dicts(tree: Mapping, place: str = '', above: tuple[int, ...] = ()
                     ) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every dict in the tree that has dense tensors as values, and its place."""
    if id(tree) in above or len(above) > MAX_DEPTH:
        return
    tensors = {}
    for key, value in tree.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub':
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor):
            # One that repeats few stored numbers may be of any size.
            if value.layout is torch.strided and not value.is_meta and not value.is_quantized and \
                    value.numel() * value.element_size() <= value.untyped_storage().nbytes():
                tensors[str(key)] = value
        elif isinstance(value, Mapping):
            yield from find_state_dicts(value, f'{place}.{key}' if place else str(key), (*above, id(tree)))
    if tensors:
        yield place, tensors


def _of_names(place: str, state_dict: Mapping[str, Tensor], keys: Sequence[str]) -> Iterator[_Candidate]:
    """Yield the encoder in a state dict that has tensors of these names, under any prefix."""
    bare = {key: key.removeprefix('model.') for key in keys}                     # of TimmEncoder
    for prefix in _prefixes(state_dict, next(iter(bare.values()))):
        names = {key: f'{prefix}{name}' for key, name in bare.items()
                 if f'{prefix}{name}' in state_dict or not key.endswith(COUNTER)}
        if all(name in state_dict for name in names.values()):
            yield _Candidate(place, prefix, names, state_dict, 'names of the backbone')


def _recorded(place: str, state_dict: Mapping[str, Tensor]) -> Iterator[_Candidate]:
    """Yield the encoder in a state dict, which a record says is there: a model's backbone, or all of it."""
    prefix = next((each for each in ('backbone.', 'module.backbone.')
                   if any(name.startswith(each) for name in state_dict)), '')
    if prefix or place in ('', 'state_dict'):
        names = {name.removeprefix(prefix): name for name in state_dict if name.startswith(prefix)}
        yield _Candidate(place, prefix, names, state_dict)


def _candidates(place: str, state_dict: Mapping[str, Tensor]) -> Iterator[_Candidate]:
    """Yield every encoder in a state dict."""
    ways = [(prefix, 'torchvision', _torchvision_key)
            for prefix in _prefixes(state_dict, 'layer1.0.conv1.weight')]
    ways += [(prefix, 'numbered', partial(_numbered_key, first_stage))
             for prefix, first_stage in sorted(_numbered_prefixes(state_dict).items())]
    found = []
    for prefix, style, key_of in ways:
        names = {key: name for name in state_dict if name.startswith(prefix)
                 and (key := key_of(name.removeprefix(prefix))) is not None}
        if {'conv1.weight', 'layer1.0.conv1.weight'} <= names.keys():
            found.append(_Candidate(place, prefix, names, state_dict, style))
    yield from found
    # mmcv 1.x keeps averages in the same dict, dots turned into underscores.
    for candidate in found:
        names = {key: f'ema_{name.replace(".", "_")}' for key, name in candidate.names.items()}
        names = {key: name for key, name in names.items() if name in state_dict}
        if 'conv1.weight' in names:
            yield _Candidate(place, f'ema_{candidate.prefix.replace(".", "_")}', names, state_dict)


def _torchvision_key(name: str) -> str | None:
    # Some CIFAR variants call the projection 'shortcut'.
    return name.replace('.shortcut.', '.downsample.') if TRUNK.match(name) else None


def _numbered_key(first_stage: int, name: str) -> str | None:
    number, _, rest = name.partition('.')
    parts = {'0': 'conv1', '1': 'bn1'} | {str(first_stage + i): f'layer{i + 1}' for i in range(4)}
    return f'{parts[number]}.{rest.replace("shortcut.", "downsample.")}' if number in parts else None


def _prefixes(names: Iterable[str], ending: str) -> list[str]:
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))


def _numbered_prefixes(names: Iterable[str]) -> dict[str, int]:
    """Return, for each prefix of numbered ResNet layers, the number of the first of its four stages."""
    # The convolution is number 0, its norm 1. ReLU and max pool have numbers in torchvision's children, but
    # not everywhere: CIFAR variants drop the pool.
    stages: dict[str, set[int]] = {}
    for name in names:
        if found := NUMBERED_STAGE.fullmatch(name):
            stages.setdefault(found[1], set()).add(int(found[2]))
    return {prefix: min(numbers) for prefix, numbers in stages.items()
            if len(numbers) == 4 and max(numbers) - min(numbers) == 3 and min(numbers) in (2, 3, 4)
            and f'{prefix}0.weight' in names and f'{prefix}1.weight' in names}


def _choose(checkpoint: Checkpoint, candidates: Sequence[_Candidate], select: str | None) -> _Candidate:
    """Return the selected encoder, by default one that is no copy; raise if several differ."""
    if select is None:
        wanted = [each for each in candidates if not COPY.search(each.address)] or candidates
    else:
        wanted = [each for each in candidates if select in (each.address, each.prefix)]
        if not wanted:
            raise LayoutError(f'{checkpoint.path} has no encoder at {select!r}; it has '
                              f'{listed(each.address for each in candidates)}')
    first, *rest = wanted
    for other in rest:
        if other.names.keys() != first.names.keys() or any(
                not torch.equal(tensor, other.tensors[key]) for key, tensor in first.tensors.items()):
            raise LayoutError(f'{checkpoint.path} holds several encoders that differ: '
                              f'{listed(each.address for each in wanted)}. Say which: '
                              f'select={first.address!r}')
    return first


def _nothing_found(checkpoint: Checkpoint, state_dicts: Mapping[str, Mapping]) -> Exception:
    """Return the error for a file without an encoder, which names the network if it is a known one."""
    names = [name for tensors in state_dicts.values() for name in tensors]
    if not names:
        return LayoutError(f'{checkpoint.path} holds no tensors at all, only {listed(checkpoint.tree)}')
    if any('layer1.0.conv1.weight' in name for name in names) and any(map(DEEP_STEM.search, names)):
        return UnsupportedEncoderError(
            f'{checkpoint.path} holds a ResNet with a deep stem of three convolutions (ResNetV1c/d); SimCLR '
            'encoders have one 7x7 or 3x3 convolution: not built here')
    if any(map(TRANSFORMER.search, names)):
        return UnsupportedEncoderError(f'{checkpoint.path} holds a vision transformer: not built here')
    first_parts = Counter('.'.join(name.split('.')[:2]) for name in names)
    return LayoutError(
        f'{checkpoint.path} holds {len(names)} tensors, but no ResNet was recognised among them (a prefix '
        'followed by conv1, bn1 and layer1 to layer4, or the same numbered). Its names '
        f'begin with {listed(f"{part} ({count})" for part, count in first_parts.most_common())}')


def infer_architecture(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the arguments of :class:`mmsimclr.models.ResNet` that an encoder's tensors show.

    Raises:
        UnsupportedEncoderError: If it is a residual network of another kind; the message names it.
    """
    convs = [tuple(map(int, found.groups())) for found in map(BLOCK.fullmatch, tensors) if found]
    stages_of_blocks = [stage for stage, _ in {(stage, block) for stage, block, _ in convs}]
    stages = tuple(map(stages_of_blocks.count, (1, 2, 3, 4)))
    num_convs = max((number for *_, number in convs), default=0)
    stem, first = tensors['conv1.weight'], tensors['layer1.0.conv1.weight']
    if stem.ndim != 4 or first.ndim != 4:
        raise UnsupportedEncoderError('a network whose convolutions have other than four axes')
    channels, kernel_px = stem.shape[0], stem.shape[-1]
    if kernel_px not in (3, 7):
        raise UnsupportedEncoderError(f'the stem convolution is {kernel_px}x{kernel_px}; known are 7x7 '
                                      '(ImageNet) and 3x3 (CIFAR)')
    if first.shape[0] != channels:
        raise UnsupportedEncoderError(
            f'stem of {channels} and blocks of {first.shape[0]} channels: a wide ResNet or ResNeXt, not a '
            'ResNet whose channels are all multiplied')
    if 'layer1.0.conv2.weight' in tensors and tensors['layer1.0.conv2.weight'].shape[1] != channels:
        raise UnsupportedEncoderError('grouped 3x3 convolutions: a ResNeXt, which is not built here')
    depths = [depth for depth, num_blocks in NUM_BLOCKS.items()
              if num_blocks == stages and num_convs == (2 if depth in BASIC_DEPTHS else 3)]
    if not depths:
        raise UnsupportedEncoderError(
            f'blocks {stages} of {num_convs} convolutions are no ResNet-18, -34, -50, -101 or -152')
    width = channels / 64
    return {
        'depth': depths[0],
        'width_multiplier': int(width) if width == int(width) else width,
        'stem': 'imagenet' if kernel_px == 7 else 'cifar',
        # Bottlenecks need a projection there, since the channels change.
        'project_first_shortcut': num_convs == 2 and 'layer1.0.downsample.0.weight' in tensors,
        **({} if stem.shape[1] == 3 else {'in_channels': stem.shape[1]}),
    }


def find_neck(state_dict: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, str], dict[str, object]]:
    """Return the names of the ``NonLinearNeck`` under a prefix by key, and its arguments; empty if none."""
    names = {name.removeprefix(prefix): name for name in state_dict if name.startswith(prefix)}
    num_layers = sum(key.startswith('fc') and key.endswith('.weight') for key in names)
    last = num_layers - 1
    first_weight, last_weight = (state_dict.get(f'{prefix}fc{i}.weight') for i in (0, last))
    if any(weight is None or weight.ndim != 2 for weight in (first_weight, last_weight)) or not all(
            map(NECK_LAYER.fullmatch, names)):
        return {}, {}
    affine = True if f'bn{last}.bias' in names else 'scale'
    return names, {
        'in_channels': first_weight.shape[1],
        'hid_channels': first_weight.shape[0],
        'out_channels': last_weight.shape[0],
        'num_layers': num_layers,
        'with_bias': num_layers > 1 and 'fc0.bias' in names,
        'with_last_bn': f'bn{last}.running_mean' in names,
        'with_last_bn_affine': affine if f'bn{last}.weight' in names else False,
        'with_last_bias': f'fc{last}.bias' in names,
    }


def _layout(checkpoint: Checkpoint, chosen: _Candidate) -> str:
    """Name the layout, for people."""
    place, prefix, meta = chosen.place, chosen.prefix, checkpoint.meta
    parts = {part for name in chosen.state_dict for part in name.split('.')[:2]}
    ddp = ', in DDP' if 'module.' in prefix else ''
    average = ', moving average' if COPY.search(chosen.address) else ''
    if 'ema_state_dict' in checkpoint.tree and 'mmengine_version' in meta:
        # MMEngine's EMAHook swaps them when it saves.
        average = ', raw weights' if place.startswith('ema_state_dict') else ', moving average'
    is_model = re.search(r'(backbone|_net\.0)\.$', prefix)
    kinds = {                                                # the first that holds
        chosen.style: chosen.style not in ('torchvision', 'numbered'),
        'mmsimclr, encoder only': RECORD_KEY in meta and not prefix,
        'VISSL': 'classy_state_dict' in place or '_feature_blocks.' in prefix,
        'MoCo-style (encoder_q)': 'encoder_q.' in prefix,
        'MoCo-style (encoder_k)': 'encoder_k.' in prefix,
        'lightly': chosen.style == 'numbered' and parts & {'projection_head', 'backbone'},
        'numbered layers': chosen.style == 'numbered',
        SOLO_LEARN: 'pytorch-lightning_version' in checkpoint.tree and 'classifier' in parts
                    and prefix in ('backbone.', 'encoder.'),
        'OpenMMLab 1.x model': is_model and (RECORD_KEY in meta or 'mmengine_version' in meta),
        'OpenMMLab 0.x model': is_model and any(
            key.startswith('mm') and key.endswith('version') for key in meta),
        'OpenMMLab model': is_model,
        'torchvision/timm': prefix in ('', 'module.') and 'fc' in parts,
        'ResNet keys without a prefix': prefix in ('', 'module.'),
        'ResNet keys': True,
    }
    kind = next(name for name, holds in kinds.items() if holds)
    return f'{kind}{ddp}{average}' + (f' ({prefix})' if prefix else '')
