"""The encoder among the variables of an official TensorFlow checkpoint."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from mmsimclr.checkpoints.architecture import infer_architecture
from mmsimclr.checkpoints.encoder_weights import UNIT_RANGE, EncoderWeights
from mmsimclr.checkpoints.errors import (
    DamagedCheckpointError,
    IncompleteEncoderError,
    LayoutError,
    UnsupportedEncoderError,
    listed,
)
from mmsimclr.checkpoints.key_maps import tensorflow1, tensorflow2
from mmsimclr.checkpoints.key_maps.official_resnet import NORM_VARIABLES, official_layers

NORM_EPS = 1e-5
AVERAGE = 'ema_model/'
# From the key of a tensor to the name and the shape of its variable.
Wanted = Mapping[str, tuple[str, tuple[int, ...]]]


def find_tensorflow_encoder(variables: Mapping[str, np.ndarray], select: str | None = None) -> EncoderWeights:
    """Return the encoder of an official checkpoint of SimCLR, v1 or v2, in its TensorFlow 1 or 2 form.

    Args:
        variables: Arrays by the variables' names, without optimizer slots; for the object-based form, by
            their path through the model's objects. Only those of the chosen encoder and its head are
            looked at, each a few times at most.
        select: Address of the encoder to take, where the file holds several (a moving average beside the
            trained weights), or its prefix alone. By default, the one that is not an average.

    Returns:
        The encoder, its projection head where there is one, and what it needs: unit-range input, the
        epsilon of the official norms, and TensorFlow's max pool behind the 7x7 stem.

    Raises:
        LayoutError: If there is no such encoder, or none at the address.
        UnsupportedEncoderError: If the network has selective kernels, squeeze-and-excitation or 200 layers.
        IncompleteEncoderError: If a variable of the encoder is missing, left over or mis-shaped.
        DamagedCheckpointError: If a variable holds NaN or infinity.
    """
    form, prefix, alternatives = _choose(variables, select)
    names = {name.removeprefix(prefix) for name in variables if name.startswith(prefix)}
    try:
        form.refuse_other_networks(names, lambda name: variables[prefix + name].shape)
        depth = form.infer_depth(names)
        if depth == 200:
            raise UnsupportedEncoderError('a ResNet-200')
    except UnsupportedEncoderError as error:
        raise UnsupportedEncoderError(
            f'the encoder at {prefix} is {error}, which is not built here. Take a plain ResNet of 18 to 152 '
            "layers (of Google's SimCLR v2 models, one whose name ends in sk0)") from None
    if form.STEM_KERNEL not in names:
        raise IncompleteEncoderError(f'the encoder has no {prefix}{form.STEM_KERNEL}, its first convolution')
    stem_px, *_, channels = variables[prefix + form.STEM_KERNEL].shape
    layers = official_layers(depth, channels, stem_px)
    wanted = {}
    for layer, (conv, norm) in zip(layers, form.layer_names(layers), strict=True):
        wanted[f'{layer.conv_key}.weight'] = f'{conv}/kernel', layer.kernel_shape
        wanted |= _norm(layer.norm_key, norm, layer.kernel_shape[-1])
    tensors = _collect(variables, prefix, wanted, f'a ResNet-{depth}')
    settings = {**infer_architecture(tensors), 'norm_eps': NORM_EPS}
    if settings['stem'] == 'imagenet':
        settings['stem_pool'] = 'same'

    parent = prefix.removesuffix(form.MODULE)
    neck, neck_settings = _find_head(variables, parent, form)
    used = (prefix, parent + form.HEAD) if neck else (prefix,)
    return EncoderWeights(
        tensors=tensors, settings=settings, input=UNIT_RANGE,
        layout=form.LAYOUT + (', moving average' if AVERAGE in prefix else ''), address=f':{prefix}',
        neck=neck, neck_settings=neck_settings, alternatives=alternatives,
        others=Counter(name.removeprefix(parent).split('/')[0] for name in variables
                       if not name.startswith(used)))


def _choose(variables: Mapping[str, np.ndarray], select: str | None
            ) -> tuple[ModuleType, str, tuple[str, ...]]:
    """Return the form and prefix of the encoder to take, and the addresses of the others."""
    found = [(form, prefix) for form in (tensorflow1, tensorflow2)
             for prefix in form.find_prefixes(variables)]
    addresses = [f':{prefix}' for _, prefix in found]
    if not found:
        parts = Counter('/'.join(name.split('/')[:2]) for name in variables).most_common()
        raise LayoutError(
            f'of {len(variables)} variables, none is that of a SimCLR encoder (base_model/conv2d..., or '
            'model/resnet_model/... in the object-based form). Their names begin with '
            f'{listed(f"{part} ({count})" for part, count in parts)}')
    if select is None:
        chosen = min(found, key=lambda candidate: AVERAGE in candidate[1])
    else:
        named = [candidate for candidate in found if select in (f':{candidate[1]}', candidate[1])]
        if not named:
            raise LayoutError(f'no encoder at {select!r}; there is {listed(addresses)}')
        chosen = named[0]
    return *chosen, tuple(address for address in addresses if address != f':{chosen[1]}')


def _norm(key: str, name: str, channels: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {f'{key}.{ours}': (f'{name}/{theirs}', (channels,)) for ours, theirs in NORM_VARIABLES.items()}


def _find_head(variables: Mapping[str, np.ndarray], parent: str, form: ModuleType
               ) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return the projection head and its settings; nothing if it is not built as the official one."""
    prefix = parent + form.HEAD
    names = {name.removeprefix(prefix) for name in variables if name.startswith(prefix)}
    layers = form.head_layer_names(names)
    kernels = [variables.get(f'{prefix}{dense}/kernel') for dense, _ in layers]
    if not kernels or any(kernel is None or kernel.ndim != 2 for kernel in kernels):
        return {}, {}
    width_in, width_hidden = kernels[0].shape
    width_out, last = kernels[-1].shape[1], len(layers) - 1
    wanted = {}
    for i, (dense, norm) in enumerate(layers):
        widths = width_hidden if i else width_in, width_out if i == last else width_hidden
        wanted[f'fc{i}.weight'] = f'{dense}/kernel', widths
        wanted |= _norm(f'bn{i}', norm, widths[1])
    del wanted[f'bn{last}.bias']
    try:
        neck = _collect(variables, prefix, wanted, 'a projection head')
    except IncompleteEncoderError:
        return {}, {}
    return neck, dict(in_channels=width_in, hid_channels=width_hidden, out_channels=width_out,
                      num_layers=len(layers), with_last_bn_affine='scale')


def _collect(variables: Mapping[str, np.ndarray], prefix: str, wanted: Wanted, kind: str
             ) -> dict[str, Tensor]:
    """Return the variables under a prefix as torch's tensors; raise unless they are exactly those wanted."""
    present = {name for name in variables if name.startswith(prefix)}
    names = {prefix + name for name, _ in wanted.values()}
    problems = {'missing': sorted(names - present), 'left over': sorted(present - names), 'mis-shaped': []}
    tensors, not_finite = {}, []
    for key, (name, shape) in wanted.items() if names == present else ():
        array = variables[prefix + name]
        if array.shape != shape:
            problems['mis-shaped'].append(f'{prefix}{name} is {list(array.shape)}, not {list(shape)}')
            continue
        tensors[key] = _to_torch(array)
        if not tensors[key].isfinite().all():
            not_finite.append(prefix + name)
    found = [f'{len(items)} {problem} ({listed(items)})' for problem, items in problems.items() if items]
    if found:
        raise IncompleteEncoderError(f'the variables at {prefix} are not those of {kind}, the nearest: '
                                     + '; '.join(found))
    if not_finite:
        raise DamagedCheckpointError(f'NaN or infinity in {len(not_finite)} of {len(tensors)} variables: '
                                     f'{listed(not_finite)}. The run diverged; take an earlier checkpoint')
    return tensors


def _to_torch(array: np.ndarray) -> Tensor:
    """Return HWIO as OIHW, [in, out] as [out, in], a vector as it is; float32."""
    order: Sequence[int] = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, (0,))
    return torch.from_numpy(np.ascontiguousarray(array.transpose(order), dtype=np.float32))
