"""Checkpoint layouts: the encoder found in a checkpoint, whatever library wrote it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmsimclr.checkpoints.config_text import stated_scale
from mmsimclr.checkpoints.encoder_weights import EncoderWeights, InputScale
from mmsimclr.checkpoints.errors import DamagedCheckpointError, LayoutError, UnsupportedEncoderError, listed
from mmsimclr.checkpoints.key_maps import detectron2
from mmsimclr.checkpoints.read import Checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, unpack_record

BLOCKS_TO_DEPTH = {            # (blocks per stage, convolutions per block): depth; He et al. 2016, Table 1
    ((2, 2, 2, 2), 2): 18,
    ((3, 4, 6, 3), 2): 34,
    ((3, 4, 6, 3), 3): 50,
    ((3, 4, 23, 3), 3): 101,
    ((3, 8, 36, 3), 3): 152,
}
BLOCK = re.compile(r'layer([1-4])\.(\d+)\.conv([123])\.weight')


def infer_architecture(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the arguments of :class:`mmsimclr.models.ResNet` that the shapes of its tensors show.

    Args:
        tensors: An encoder's tensors under torchvision's keys.

    Returns:
        ``depth``, ``width_multiplier``, ``stem`` and ``project_first_shortcut``.

    Raises:
        UnsupportedEncoderError: If it is a residual network of another kind; the message names it.
    """
    blocks = [set(), set(), set(), set()]
    convolutions = 0
    for key in tensors:
        if found := BLOCK.fullmatch(key):
            blocks[int(found[1]) - 1].add(int(found[2]))
            convolutions = max(convolutions, int(found[3]))
    per_stage = tuple(map(len, blocks))
    stem, first = tensors['conv1.weight'], tensors['layer1.0.conv1.weight']
    channels, kernel = stem.shape[0], stem.shape[-1]
    if stem.shape[1] != 3:
        raise UnsupportedEncoderError(f'the encoder takes images of {stem.shape[1]} channels; RGB has 3')
    if kernel not in (3, 7):
        raise UnsupportedEncoderError(f'the stem convolution is {kernel}x{kernel}; known are 7x7 (ImageNet) '
                                      'and 3x3 (CIFAR)')
    if first.shape[0] != channels:
        raise UnsupportedEncoderError(
            f'stem of {channels} and blocks of {first.shape[0]} channels: a wide ResNet or ResNeXt, not a '
            'ResNet whose channels are all multiplied')
    if 'layer1.0.conv2.weight' in tensors and tensors['layer1.0.conv2.weight'].shape[1] != channels:
        raise UnsupportedEncoderError('grouped 3x3 convolutions: a ResNeXt, which is not built here')
    if (per_stage, convolutions) not in BLOCKS_TO_DEPTH:
        raise UnsupportedEncoderError(
            f'blocks {per_stage} of {convolutions} convolutions are no ResNet-18, -34, -50, -101 or -152')
    width = channels / 64
    return {
        'depth': BLOCKS_TO_DEPTH[per_stage, convolutions],
        'width_multiplier': int(width) if width == int(width) else width,
        'stem': 'imagenet' if kernel == 7 else 'cifar',
        # Bottlenecks need a projection there, since the channels change.
        'project_first_shortcut': convolutions == 2 and 'layer1.0.downsample.0.weight' in tensors,
    }


LAYER = re.compile(r'(fc|bn)(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)')


def find_projection_head(state_dict: Mapping[str, Tensor], backbone_prefix: str
                         ) -> tuple[dict[str, tuple[str, Tensor]], dict[str, object]]:
    """Return the projection head that belongs to a backbone, if it is a ``NonLinearNeck``.

    Args:
        state_dict: All tensors of a model.
        backbone_prefix: Prefix of the encoder; the head is sought where ``backbone.`` turns into ``neck.``.

    Returns:
        By NonLinearNeck's key, the name in the state dict and the tensor; and the arguments of
        ``NonLinearNeck`` that the shapes show. Both are empty if there is no such head.
    """
    if not backbone_prefix.endswith('backbone.'):
        return {}, {}
    prefix = f'{backbone_prefix.removesuffix("backbone.")}neck.'
    names = {name.removeprefix(prefix): name for name in state_dict if name.startswith(prefix)}
    if 'fc0.weight' not in names or not all(map(LAYER.fullmatch, names)):
        return {}, {}
    num_layers = sum(key.startswith('fc') and key.endswith('.weight') for key in names)
    last = num_layers - 1
    if f'fc{last}.weight' not in names:
        return {}, {}
    head = {key: (name, state_dict[name]) for key, name in names.items()}
    first, final = head['fc0.weight'][1], head[f'fc{last}.weight'][1]
    affine = 'scale' if f'bn{last}.bias' not in names else True
    return head, {
        'in_channels': first.shape[1],
        'hid_channels': first.shape[0],
        'out_channels': final.shape[0],
        'num_layers': num_layers,
        'with_bias': num_layers > 1 and 'fc0.bias' in names,
        'with_last_bn': f'bn{last}.running_mean' in names,
        'with_last_bn_affine': affine if f'bn{last}.weight' in names else False,
        'with_last_bias': f'fc{last}.bias' in names,
    }


STAGE = re.compile(r'(.*?)(\d+)\.0\.conv1\.weight')


def sequential_prefixes(names: Iterable[str]) -> dict[str, int]:
    """Return, for each prefix of numbered ResNet layers, the number of its first stage.

    The convolution is number 0, its norm 1; ReLU and max pool may take numbers or not (torchvision's
    children have both; CIFAR variants drop the pool), and four stages follow.
    """
    stages: dict[str, set[int]] = {}
    for name in names:
        if found := STAGE.fullmatch(name):
            stages.setdefault(found[1], set()).add(int(found[2]))
    names = set(names)
    return {prefix: min(numbers) for prefix, numbers in stages.items()
            if len(numbers) == 4 and max(numbers) - min(numbers) == 3 and min(numbers) in (2, 3, 4)
            and f'{prefix}0.weight' in names and f'{prefix}1.weight' in names}


def canonical_key(key: str, first_stage: int) -> str:
    """Return torchvision's key of a numbered one: ``4.0.conv1.weight`` is ``layer1.0.conv1.weight``.

    What follows the stages (a pool has no tensors, a classifier has) keeps its name.
    """
    number, _, rest = key.partition('.')
    if not number.isdigit() or not rest:
        return key
    place = int(number)
    if place in (0, 1):
        return f'{("conv1", "bn1")[place]}.{rest}'
    if first_stage <= place < first_stage + 4:
        # Some CIFAR variants call the projection 'shortcut'.
        return f'layer{place - first_stage + 1}.{rest.replace("shortcut.", "downsample.")}'
    return key


TRUNK = re.compile(r'(conv1|bn1|layer[1-4])\.')
# Slowly moving copies of an encoder, which are not what "the encoder" means unless asked for.
COPY = re.compile(r'(^|[._:])(ema|momentum|target|teacher|encoder_k|key_encoder|shadow|averaged)')
SOLO_LEARN = 'solo-learn'
MAX_DEPTH = 20


@dataclass(frozen=True)
class _Candidate:
    """An encoder in a state dict: torchvision's key of each tensor and its name in the file."""

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


def find_encoder(checkpoint: Checkpoint, select: str | None = None) -> EncoderWeights:
    """Recognise the layout of a checkpoint and return its encoder.

    Encoders are found by their structure, a stem and four stages under any prefix: models of OpenMMLab
    (``backbone.``), DDP (``module.``), MoCo (``encoder_q.``), VISSL, solo-learn, torchvision and timm,
    numbered layers (lightly), Detectron2's names, and averages beside them.

    Args:
        checkpoint: What was read.
        select: The encoder to take where there are several: its address, e.g. ``'state_dict:encoder_k.'``
            (messages list them), or its prefix alone. By default, the one that is not a slowly moving copy.

    Raises:
        LayoutError: If no encoder is recognised, or several that differ, or none has the address.
        UnsupportedEncoderError: If the network is of a kind that is not built here.
        DamagedCheckpointError: If a tensor is not finite, or the file contradicts its own record.
    """
    state_dicts = dict(_state_dicts(checkpoint.tree))
    candidates = [candidate for place, tensors in state_dicts.items()
                  for candidate in _candidates(place, tensors)]
    if not candidates:
        raise _nothing_found(checkpoint, state_dicts)
    chosen = _choose(checkpoint, candidates, select)
    tensors = chosen.tensors
    _check_finite(checkpoint, tensors)
    try:
        settings = infer_architecture(tensors)
    except UnsupportedEncoderError as error:
        raise UnsupportedEncoderError(f'{checkpoint.path}: {error}') from error
    layout = _layout(checkpoint, chosen)
    if layout.startswith(SOLO_LEARN) and settings['stem'] == 'cifar':
        settings['stem_padding'] = 2         # solo/methods/base.py; its tensors do not show it
    scale = stated_scale(checkpoint.meta) or InputScale()
    record = checkpoint.meta.get(RECORD_KEY) or checkpoint.tree.get(RECORD_KEY)
    if chosen.style == 'Detectron2' and not record:
        raise UnsupportedEncoderError(
            f'{checkpoint.path} is of Detectron2, whose names show neither where blocks stride (by default '
            'in the 1x1 convolution, where our encoders do not) nor whether it takes BGR images (default). '
            'Only files that tools/convert_checkpoint.py wrote for it, which say so, are read back')
    if record:
        stated, scale, _ = unpack_record(record)
        for name, value in settings.items():
            if stated.get(name, value) != value:
                raise DamagedCheckpointError(f'{checkpoint.path} says {name}={stated[name]!r} of its '
                                             f'encoder, whose tensors show {value!r}')
        settings |= stated
    state_dict = state_dicts[chosen.place]
    neck, neck_settings = find_projection_head(state_dict, chosen.prefix)
    used = set(chosen.names.values()) | {neck_name for neck_name, _ in neck.values()}
    return EncoderWeights(
        tensors=tensors, settings=settings, input=scale, layout=layout,
        address=chosen.address, neck={key: tensor for key, (_, tensor) in neck.items()},
        neck_settings=neck_settings,
        others=Counter((name if place == chosen.place else place).split('.')[0]
                       for place, names in state_dicts.items() for name in names
                       if place != chosen.place or name not in used),
        alternatives=tuple(c.address for c in candidates if c is not chosen),
        path=checkpoint.path, sha256=checkpoint.sha256)


def _state_dicts(tree: Mapping, place: str = '', above: tuple[int, ...] = ()
                 ) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every dict in the tree that has dense tensors as values, and where it is."""
    tensors = {}
    if id(tree) in above or len(above) > MAX_DEPTH:
        return
    for key, value in tree.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub':
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor):
            if value.layout is torch.strided and not value.is_meta and not value.is_quantized:
                tensors[str(key)] = value
        elif isinstance(value, Mapping):
            yield from _state_dicts(value, f'{place}.{key}' if place else str(key), (*above, id(tree)))
    if tensors:
        yield place, tensors


def _candidates(place: str, state_dict: Mapping[str, Tensor]) -> Iterator[_Candidate]:
    names = list(state_dict)
    prefixes = {name.removesuffix('layer1.0.conv1.weight') for name in names
                if name.endswith('layer1.0.conv1.weight')}
    found = []
    for prefix in sorted(prefixes):
        if f'{prefix}conv1.weight' not in state_dict:
            continue
        keys = {name.removeprefix(prefix).replace('.shortcut.', '.downsample.'): name
                for name in names if name.startswith(prefix) and TRUNK.match(name, len(prefix))}
        found.append(_Candidate(place, prefix, keys, state_dict))
    for prefix, first_stage in sorted(sequential_prefixes(names).items()):
        keys = {canonical_key(name.removeprefix(prefix), first_stage): name
                for name in names if name.startswith(prefix)}
        keys = {key: name for key, name in keys.items() if TRUNK.match(key)}
        found.append(_Candidate(place, prefix, keys, state_dict, 'numbered'))
    for prefix in sorted(name.removesuffix('stem.conv1.weight') for name in names
                         if name.endswith('stem.conv1.weight')):
        keys = {key: name for name in names if name.startswith(prefix)
                and (key := detectron2.from_detectron2(name.removeprefix(prefix))) is not None}
        if 'layer1.0.conv1.weight' in keys:
            found.append(_Candidate(place, prefix, keys, state_dict, 'Detectron2'))
    yield from found
    # mmcv 1.x keeps averages in the same dict, dots turned into underscores.
    for candidate in found:
        keys = {key: f'ema_{name.replace(".", "_")}' for key, name in candidate.names.items()}
        keys = {key: name for key, name in keys.items() if name in state_dict}
        if 'conv1.weight' in keys:
            yield _Candidate(place, f'ema_{candidate.prefix.replace(".", "_")}', keys, state_dict)


def _choose(checkpoint: Checkpoint, candidates: Sequence[_Candidate], select: str | None) -> _Candidate:
    addresses = [candidate.address for candidate in candidates]
    if select is not None:
        own = [candidate for candidate in candidates if select in (candidate.address, candidate.prefix)]
        if not own:
            raise LayoutError(f'{checkpoint.path} has no encoder at {select!r}; it has {listed(addresses)}')
        return _the_only(checkpoint, own)
    own = [candidate for candidate in candidates if not COPY.search(candidate.address)] or candidates
    return _the_only(checkpoint, own)


def _the_only(checkpoint: Checkpoint, own: Sequence[_Candidate]) -> _Candidate:
    """Return the first of encoders that are all the same; raise if they differ."""
    first, *rest = own
    for other in rest:
        if other.names.keys() != first.names.keys() or any(
                not torch.equal(tensor, other.tensors[key]) for key, tensor in first.tensors.items()):
            raise LayoutError(f'{checkpoint.path} holds several encoders that differ: '
                              f'{listed([c.address for c in own])}. Say which: select={first.address!r}')
    return first


def _check_finite(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
    bad = [key for key, tensor in tensors.items()
           if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if bad:
        raise DamagedCheckpointError(
            f'{checkpoint.path} holds NaN or infinity in {len(bad)} of {len(tensors)} tensors of its '
            f'encoder: {listed(bad)}. The run diverged; take an earlier checkpoint')


def _nothing_found(checkpoint: Checkpoint, state_dicts: Mapping[str, Mapping]) -> Exception:
    names = [name for tensors in state_dicts.values() for name in tensors]
    if not names:
        return LayoutError(f'{checkpoint.path} holds no tensors at all, only '
                           f'{listed(map(str, checkpoint.tree))}')
    # One that is a ResNet but for its stem, or is another network, is named.
    for mark, what in (
            (r'(^|\.)(stem\.0|conv1\.0)\.weight$', 'a ResNet with a deep stem of three convolutions '
             '(ResNetV1c/d); SimCLR encoders have one 7x7 or 3x3 convolution'),
            (r'(^|\.)(cls_token$|(blocks|layers)\.0\.attn\.)', 'a vision transformer')):
        is_resnet = 'deep stem' not in what or any('layer1.0.conv1.weight' in name for name in names)
        if is_resnet and any(re.search(mark, name) for name in names):
            return UnsupportedEncoderError(f'{checkpoint.path} holds {what}: not built here')
    first_parts = Counter('.'.join(name.split('.')[:2]) for name in names)
    return LayoutError(
        f'{checkpoint.path} holds {len(names)} tensors, but no ResNet was recognised among them (a prefix '
        'followed by conv1, bn1 and layer1 to layer4, or the same numbered, or as in Detectron2). Its names '
        f'begin with {listed([f"{part} ({count})" for part, count in first_parts.most_common()])}')


def _layout(checkpoint: Checkpoint, chosen: _Candidate) -> str:
    """Name the layout, for people."""
    place, prefix = chosen.place, chosen.prefix
    parts = {part for name in chosen.state_dict for part in name.split('.')[:2]}
    ddp = ', in DDP' if 'module.' in prefix else ''
    average = ', moving average' if COPY.search(chosen.address) else ''
    if 'ema_state_dict' in checkpoint.tree and 'mmengine_version' in checkpoint.meta:
        # MMEngine's EMAHook swaps them when it saves.
        average = ', raw weights' if place.startswith('ema_state_dict') else ', moving average'
    if chosen.style == 'Detectron2':
        kind = 'Detectron2'
    elif RECORD_KEY in checkpoint.meta and not prefix:
        kind = 'mmsimclr, encoder only'
    elif 'classy_state_dict' in place or '_feature_blocks.' in prefix:
        kind = 'VISSL'
    elif re.search(r'encoder_[qk]\.', prefix):
        kind = 'MoCo-style (encoder_q)' if 'encoder_q' in prefix else 'MoCo-style (encoder_k)'
    elif chosen.style == 'numbered':
        kind = 'lightly' if parts & {'projection_head', 'backbone'} else 'numbered layers'
    elif 'pytorch-lightning_version' in checkpoint.tree and 'classifier' in parts and \
            prefix in ('backbone.', 'encoder.'):
        kind = SOLO_LEARN
    elif re.search(r'(backbone|_net\.0)\.$', prefix):
        version = '1.x' if RECORD_KEY in checkpoint.meta or 'mmengine_version' in checkpoint.meta else '0.x' \
            if any(key.startswith('mm') and key.endswith('version') for key in checkpoint.meta) else ''
        kind = f'OpenMMLab {version} model'.replace('  ', ' ')
    elif prefix in ('', 'module.'):
        kind = 'torchvision/timm' if 'fc' in parts else 'ResNet keys without a prefix'
    else:
        kind = 'ResNet keys'
    return f'{kind}{ddp}{average}' + (f' ({prefix})' if prefix else '')
