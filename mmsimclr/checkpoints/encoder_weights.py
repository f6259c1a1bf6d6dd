"""An encoder read from a file: its tensors under torchvision's keys, its architecture, its input scale."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mmsimclr.checkpoints.errors import DamagedCheckpointError, listed

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
# Blocks of each stage by depth; He et al. 2016, Table 1. As in models.backbones.resnet.
NUM_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# The 8-bit floats mean nothing without the scales beside them.
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
BASIC_DEPTHS = (18, 34)                                      # blocks of two convolutions; the others of three


@dataclass(frozen=True)
class InputScale:
    """Scale of an encoder's images: (x - mean) / std for x of 0 to 255, by channel, of RGB or ``reading``."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    stated: bool = False                 # by the file; else it is what files of this layout usually mean
    view_px: int | None = field(default=None, compare=False)     # side of the views of its training, if known
    # Arguments of LoadChannels that read the images: channels, value_range, dtype; None of 8-bit RGB.
    reading: Mapping[str, object] | None = field(default=None, hash=False)

    def __str__(self) -> str:
        mean, std = (' '.join(f'{value:g}' for value in values) for values in (self.mean, self.std))
        assumed = '' if self.stated else ' (assumed: the file does not say)'
        images = 'RGB of' if self.reading is None else (
            '{channels} channels of {dtype}, of which {value_range} become'.format(**self.reading))
        return f'{images} 0 to 255, less {mean}, by {std}{assumed}'


UNIT_RANGE = InputScale(mean=(0., 0., 0.), std=(255., 255., 255.), stated=True)


@dataclass(frozen=True)
class EncoderWeights:
    """One encoder out of a checkpoint.

    Attributes:
        tensors: By the encoder's keys without a prefix, of a ResNet torchvision's; convolutions are
            [out, in, height, width].
        settings: What :func:`mmsimclr.encoders.build_backbone` rebuilds it from. Without a type, arguments of
            :class:`mmsimclr.models.ResNet`: those that the tensors show, and others, such as ``stem_pool``
            and ``norm_eps``, if the file or its layout says so.
        address: The keys down to the state dict, a colon, and the prefix: ``'state_dict:backbone.'``.
        neck, neck_settings: Tensors of the projection head under :class:`~mmsimclr.models.NonLinearNeck`'s
            keys, and its arguments; empty if its structure is not known.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, object]
    input: InputScale = field(default_factory=InputScale)
    layout: str = 'not stated'                               # in words
    address: str = ':'
    neck: Mapping[str, Tensor] = field(default_factory=dict)
    neck_settings: Mapping[str, object] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)  # count of other tensors by the name's first part
    alternatives: tuple[str, ...] = ()                       # addresses of further encoders in the file
    path: Path | None = None
    sha256: str = ''                                         # of the file, or of its data files; hexadecimal

    @property
    def kind(self) -> str:
        """The encoder, for people."""
        if 'type' in self.settings:
            return f'{self.settings["type"]} {self.settings.get("name", "")}'.strip()
        depth, width, stem = (self.settings.get(key, '?') for key in ('depth', 'width_multiplier', 'stem'))
        return f'a ResNet-{depth} of width {width} with the {stem} stem'


def check_finite(tensors: Mapping[str, Tensor], origin: object) -> None:
    """Raise DamagedCheckpointError if a tensor holds NaN or infinity, or is not of numbers to compute with.

    ``origin`` is the file's name.
    """
    strange = [f'{key} is {tensor.dtype}' for key, tensor in tensors.items()
               if tensor.is_floating_point() and tensor.dtype not in FLOATS]
    if strange:
        raise DamagedCheckpointError(
            f'{origin} holds {len(strange)} of {len(tensors)} tensors in types that are not computed with: '
            f'{listed(strange)}. Save it as float32, float16 or bfloat16, with the scales of quantised '
            'weights applied')
    if bad := [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise DamagedCheckpointError(
            f'{origin} holds NaN or infinity in {len(bad)} of {len(tensors)} tensors: {listed(bad)}. The run '
            'diverged; take an earlier checkpoint')
