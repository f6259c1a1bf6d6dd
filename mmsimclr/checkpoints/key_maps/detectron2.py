"""Detectron2's names of a ResNet's tensors, and torchvision's.

Detectron2 keeps a convolution's norm inside the convolution, counts the stages from 2, and calls the
projection a shortcut (detectron2/modeling/backbone/resnet.py). Names are without a prefix such as
``backbone.bottom_up.``.
"""

import re

STEM = re.compile(r'stem\.conv1\.(norm\.)?(\w+)')
BLOCK = re.compile(r'res([2-5])\.(\d+)\.(?:conv([123])|shortcut)\.(norm\.)?(\w+)')


def to_detectron2(key: str) -> str:
    """Return Detectron2's name for torchvision's: ``res2.0.conv1.norm.bias`` for ``layer1.0.bn1.bias``."""
    *places, part, name = key.split('.')
    if places[-1:] == ['downsample']:
        places.pop()
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
    """Return torchvision's key for Detectron2's name; None if it is not one of its ResNet."""
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
