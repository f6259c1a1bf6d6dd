"""Translation of the official code's variables to the state dicts of our encoder and head.

Written from the order in which tf2/resnet.py creates its layers, independently of the converter.
"""

import re

import numpy as np
import torch
from torch import Tensor

SUFFIX = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean',
          'moving_variance': 'running_var', 'kernel': 'weight'}


def resnet_keys(names: list[str]) -> dict[str, str]:
    """Return the key in our state dict for each official variable of the encoder.

    The running numbers of the layers (``conv2d_7``) tell the order in which a block created them:
    its projection shortcut first, where it has one, then conv1, conv2, (conv3).
    """
    layers = {}  # (stage, block) -> running numbers of its layers
    parsed = {}
    for name in names:
        *_, layer, variable = name.removesuffix(':0').split('/')
        number = int((re.search(r'_(\d+)$', layer) or [0, 0])[1])
        place = re.search(r'block_group(\d+)/(\w+_block)(_\d+)?/', name)
        block = (int(place[1]), int((place[3] or '_0')[1:])) if place else None
        layers.setdefault(block, set()).add(number)
        parsed[name] = block, number, 'conv' if layer.startswith('conv2d') else 'bn', variable

    first_block = {}  # the blocks are numbered through the network, ours within the stage
    for block in sorted(filter(None, layers)):
        first_block.setdefault(block[0], block[1])
    has_shortcut = {block: block is not None and len(layers[block]) > _plain(layers)
                    for block in layers}

    keys = {}
    for name, (block, number, kind, variable) in parsed.items():
        position = sorted(layers[block]).index(number)
        if block is None:
            prefix, layer = '', f'{kind}1'
        else:
            prefix = f'layer{block[0]}.{block[1] - first_block[block[0]]}.'
            if has_shortcut[block] and position == 0:
                layer = 'downsample.0' if kind == 'conv' else 'downsample.1'
            else:
                layer = f'{kind}{position + 1 - has_shortcut[block]}'
        keys[name] = f'{prefix}{layer}.{SUFFIX[variable]}'
    return keys


def _plain(layers: dict) -> int:
    """Return the number of layers of a block without projection shortcut."""
    return min(len(numbers) for block, numbers in layers.items() if block is not None)


def head_key(name: str) -> str:
    """Return our key for a variable of the projection head.

    ``projection_head/nl_1/dense_1/kernel:0`` is ``fc1.weight``.
    """
    layer, kind, variable = re.search(r'nl_(\d)/(dense|batch_norm).*/(\w+):0$', name).groups()
    return f'{"fc" if kind == "dense" else "bn"}{layer}.{SUFFIX[variable]}'


def to_torch(array: np.ndarray) -> Tensor:
    """Return a kernel as OIHW (from HWIO) or [out, in] (from [in, out]), anything else as it is."""
    array = np.asarray(array, dtype=np.float32)
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif array.ndim == 2:
        array = array.T
    return torch.from_numpy(np.array(array, order='C'))


def images(array: np.ndarray) -> Tensor:
    """Return NHWC images or maps as NCHW."""
    return torch.from_numpy(np.array(array.transpose(0, 3, 1, 2), dtype=np.float32, order='C'))


def made_kernel(index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the kernel that the reference run gave to variable ``index``, HWIO.

    A rule instead of stored weights: few distinct values, exact in float16, scaled to about
    variance 1/fan-in.
    """
    noise = np.random.RandomState(11 * 1000 + index).standard_normal(shape)
    scale = 2.0 ** np.round(np.log2(np.sqrt(1 / np.prod(shape[:-1]))))
    return (np.clip(np.round(0.9 * noise), -2, 2) * scale).astype(np.float32)
