"""The encoder that a protocol evaluates: out of a checkpoint, or random because it was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from mmsimclr.checkpoints import (
    UNIT_RANGE,
    EncoderWeights,
    InputScale,
    LoadReport,
    build_encoder,
    read_encoder,
)
from mmsimclr.registry import MODELS


@dataclass(frozen=True)
class EncoderSource:
    """Where an encoder comes from; each :meth:`build` makes a fresh one with the same weights.

    Attributes:
        checkpoint: A file, folder, address or model-zoo name; None for random initialisation.
        select: Address of the encoder in the checkpoint, where it has several.
        settings: Arguments of :class:`mmsimclr.models.ResNet` for random initialisation. A checkpoint
            says them itself.
        seed: Decides a random initialisation.

    Raises:
        ValueError: If there is neither a checkpoint nor settings to build a random encoder from.
    """

    checkpoint: str | Path | None
    select: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.checkpoint is None and not self.settings:
            raise ValueError('random initialisation needs the architecture: put encoder=dict(depth=50, ...) '
                             'in the config')

    @cached_property
    def weights(self) -> EncoderWeights | None:
        """What the checkpoint holds, read once; None for random initialisation."""
        return None if self.checkpoint is None else read_encoder(self.checkpoint, self.select)

    @property
    def input(self) -> InputScale:
        """How to scale the encoder's images; the unit range where it is random."""
        return UNIT_RANGE if self.weights is None else self.weights.input

    def build(self, **arguments: object) -> tuple[nn.Module, LoadReport | None]:
        """Return a new encoder, in eval mode, and the report of its loading (None where it is random).

        Args:
            **arguments: Further arguments of :class:`mmsimclr.models.ResNet`, such as ``out_indices``.

        Raises:
            CheckpointError: If the checkpoint does not fill the encoder.
        """
        if self.weights is not None:
            return build_encoder(self.weights, **arguments)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return MODELS.build(dict(type='mmsimclr.ResNet', **self.settings, **arguments)).eval(), None
