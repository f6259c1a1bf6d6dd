"""An encoder as it was found in a file: tensors under torchvision's keys, and how to run it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class InputScale:
    """What the encoder's images look like: (x - mean) / std for RGB x of 0 to 255.

    Attributes:
        mean: Mean of the three RGB channels, on the 0-255 scale.
        std: Deviation of the three RGB channels, on the 0-255 scale.
        stated: Whether the file says so; otherwise it is what files of this layout usually mean.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    stated: bool = False

    def __str__(self) -> str:
        numbers = [' '.join(f'{value:g}' for value in values) for values in (self.mean, self.std)]
        return f'RGB of 0 to 255, less {numbers[0]}, by {numbers[1]}' + (
            '' if self.stated else ' (assumed: the file does not say)')


UNIT_RANGE = InputScale(mean=(0., 0., 0.), std=(255., 255., 255.), stated=True)


@dataclass(frozen=True)
class EncoderWeights:
    """One encoder out of a checkpoint.

    Attributes:
        tensors: The encoder's tensors under torchvision's ResNet keys without any prefix:
            ``conv1.weight``, ``bn1.running_mean``, ``layer1.0.downsample.0.weight``, ...; convolutions
            are [out, in, height, width].
        settings: Arguments of :class:`mmsimclr.models.ResNet` that rebuild the encoder: ``depth``,
            ``width_multiplier``, ``stem``, ``project_first_shortcut``, which the tensors show; and
            ``stem_pool`` and ``norm_eps``, which they do not, where the file or its layout says so.
        input: How to scale its images.
        layout: The layout that was recognised, in words, e.g. ``'MMSelfSup/MMPretrain 1.x model'``.
        address: Where in the file it is: the keys down to the state dict, a colon, the prefix, e.g.
            ``'state_dict:backbone.'``.
        neck: Tensors of the projection head under :class:`~mmsimclr.models.NonLinearNeck`'s keys
            (``fc0.weight``, ``bn0.weight``, ...; linear layers are [out, in]), where its structure is
            known; else empty.
        neck_settings: Arguments of ``NonLinearNeck`` that rebuild it.
        others: Counts of the file's remaining tensors (heads, momentum encoders, optimizer), by the
            first part of their names.
        alternatives: Addresses of further encoders in the same file.
        path: The file.
        sha256: Its content's SHA-256, hexadecimal; for formats of several files, of the data file.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, object]
    input: InputScale = field(default_factory=InputScale)
    layout: str = 'not stated'
    address: str = ':'
    neck: Mapping[str, Tensor] = field(default_factory=dict)
    neck_settings: Mapping[str, object] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    alternatives: tuple[str, ...] = ()
    path: Path | None = None
    sha256: str = ''

    def with_origin(self, path: Path, sha256: str) -> 'EncoderWeights':
        """Return a copy that knows its file."""
        return replace(self, path=path, sha256=sha256)
