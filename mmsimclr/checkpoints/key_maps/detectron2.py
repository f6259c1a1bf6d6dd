"""Detectron2's names of a ResNet's tensors, and torchvision's.

Detectron2 keeps a convolution's norm inside the convolution, counts the stages from 2, and calls the
projection a shortcut (detectron2/modeling/backbone/resnet.py).
"""

import re

STEM = re.compile(r'stem\.conv1\.(norm\.)?(\w+)')
BLOCK = re.compile(r'res([2-5])\.(\d+)\.(?:conv([123])|shortcut)\.(norm\.)?(\w+)')


def to_detectron2(key: str) -> str:
    """Return Detectron2's name of a tensor of torchvision's ResNet: ``res2.0.conv1.norm.bias``.

    Args:
        key: Torchvision's key without a prefix, e.g. ``layer1.0.bn1.bias``.
    """
    *places, part, name = key.split('.')
    if part in ('0', '1') and places[-1] == 'downsample':
        *places, _ = places
        layer = 'shortcut' if part == '0' else 'shortcut.norm'
    elif part.startswith('bn'):
        layer = f'conv{part[2:]}.norm'
    else:
        layer = part
    if not places:
        return f'stem.{layer}.{name}'
    stage, block = places
    return f'res{int(stage.removeprefix("layer")) + 1}.{block}.{layer}.{name}'


def from_detectron2(name: str) -> str | None:
    """Return torchvision's key of a tensor of Detectron2's ResNet; None if it is not one.

    Args:
        name: Detectron2's name without a prefix such as ``backbone.bottom_up.``.
    """
    if found := STEM.fullmatch(name):
        norm, tensor = found.groups()
        return f'{"bn1" if norm else "conv1"}.{tensor}'
    if found := BLOCK.fullmatch(name):
        stage, block, convolution, norm, tensor = found.groups()
        if convolution:
            layer = f'{"bn" if norm else "conv"}{convolution}'
        else:
            layer = f'downsample.{1 if norm else 0}'
        return f'layer{int(stage) - 1}.{block}.{layer}.{tensor}'
    return None
