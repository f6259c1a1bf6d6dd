"""Detectron2's names of a ResNet's tensors, and torchvision's.

Detectron2 keeps a convolution's norm inside the convolution, counts the stages from 2, and calls the
projection a shortcut (detectron2/modeling/backbone/resnet.py). Names are without a prefix such as
``backbone.bottom_up.``.
"""

import re

NAME = re.compile(r'(stem\.conv1|res[2-5]\.\d+\.(conv[123]|shortcut))\.(norm\.)?\w+')


def to_detectron2(key: str) -> str:
    """Return Detectron2's name for torchvision's: ``res2.0.conv1.norm.bias`` for ``layer1.0.bn1.bias``."""
    name = re.sub(r'layer(\d)', lambda found: f'res{int(found[1]) + 1}', key)
    name = name.replace('downsample.0', 'shortcut').replace('downsample.1', 'shortcut.norm')
    name = re.sub(r'bn(\d)', r'conv\1.norm', name)
    return name if name.startswith('res') else f'stem.{name}'


def from_detectron2(name: str) -> str | None:
    """Return torchvision's key for Detectron2's name; None if it is not one of its ResNet."""
    if not NAME.fullmatch(name):
        return None
    key = re.sub(r'res(\d)', lambda found: f'layer{int(found[1]) - 1}', name.removeprefix('stem.'))
    key = re.sub(r'conv(\d)\.norm\.', r'bn\1.', key)
    return key.replace('shortcut.norm.', 'downsample.1.').replace('shortcut.', 'downsample.0.')
