"""The encoder as backbone of a detector or segmenter, and its last stage as C4 head."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsimclr.encoders import build_backbone, features_by_stage, image_side, name_of, require_stages
from mmsimclr.errors import InputError
from mmsimclr.models.backbones.resnet import ResNet
from mmsimclr.registry import MODELS


@MODELS.register_module()
class DownstreamResNet(ResNet):
    """The encoder, which may end after any stage, and keep resolution by dilation in place of strides.

    Args:
        num_stages: Stages it has, 1 to 4; a C4 detector keeps the fourth in its head.
        output_stride: Stride of the last map: stages that would go beyond it are dilated instead.
        out_indices, encoder: Arguments of :class:`ResNet`; maps are 0 to 3.

    Attributes:
        channels, strides: Channels of the stages' maps, and their strides in pixels.

    Source:
        Chen et al. 2017, Rethinking Atrous Convolution, section 3.1.
    """

    def __init__(self, num_stages: int = 4, output_stride: int | None = None,
                 out_indices: Sequence[int] = (0, 1, 2, 3), **encoder) -> None:
        super().__init__(out_indices=out_indices, **encoder)
        if num_stages not in (1, 2, 3, 4) or max(out_indices) >= num_stages:
            raise InputError(f'num_stages must be 1 to 4 and more than every out_indices, got {num_stages} '
                             f'and {tuple(out_indices)}')
        stem = 1 if self.settings['stem'] == 'cifar' else 4
        natural = [stem * 2**stage for stage in range(4)]
        if output_stride is not None and output_stride not in range(stem, 65):
            raise InputError(f'output_stride must be {stem} to 64, the first being the stride of the first '
                             f'stage, got {output_stride}')
        self.num_stages = num_stages
        self.warns_of_small_images = False
        self.strides = tuple(min(stride, output_stride or stride) for stride in natural)
        self.channels = tuple(self.feat_dim // 2**(3 - stage) for stage in range(4))
        for stage in range(4):
            if stage >= num_stages:
                delattr(self, f'layer{stage + 1}')
            elif natural[stage] > self.strides[stage]:
                _dilate(getattr(self, f'layer{stage + 1}'), natural[stage] // self.strides[stage])


def _dilate(stage: nn.Sequential, dilation: int) -> None:
    for conv in stage.modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        if conv.kernel_size == (3, 3):
            # The strided convolution still sees the denser map of the stage before.
            spread = dilation // 2 if conv.stride != (1, 1) else dilation
            conv.dilation = conv.padding = (spread, spread)
        conv.stride = (1, 1)


@MODELS.register_module()
class StageMaps(nn.Module):
    """The maps of the stages of any encoder that has four, each half as long as the one before.

    Args:
        encoder: Its config.
        out_indices: Stages whose maps are returned, 0 to 3.

    Attributes:
        channels, strides: As of :class:`DownstreamResNet`.
        settings: Those of the encoder.

    Raises:
        InputError: If the encoder has no such stages, with the name of what is missing.
    """

    names = 'layer1', 'layer2', 'layer3', 'layer4'

    def __init__(self, encoder: Mapping[str, Any], out_indices: Sequence[int] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self.encoder = build_backbone(encoder, self.names)
        self.settings, self.out_indices = self.encoder.settings, tuple(out_indices)
        self.encoder.eval()
        side, fixed = 128, image_side(self.encoder)
        with torch.no_grad():
            maps = features_by_stage(self.encoder, torch.zeros(1, 3, fixed or side, fixed or side))
        self.encoder.train()
        require_stages(self.encoder, maps, self.names)
        if fixed:
            raise InputError(f'the encoder {name_of(self.encoder)} takes images of {fixed} pixels only, and '
                             'those of detectors and segmenters are of many sizes')
        self.channels = tuple(maps[name].shape[1] for name in self.names)
        self.strides = tuple(side // maps[name].shape[-1] for name in self.names)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of the stages of images, float [N, 3, H, W], at least 64 pixels long."""
        maps = features_by_stage(self.encoder, x)
        return tuple(maps[self.names[index]] for index in self.out_indices)


@MODELS.register_module()
class Stage4Head(BaseModule):
    """Stage 4 of an encoder with these arguments on regions of stage 3's map, and one norm more.

    The norm brings features of any encoder to the magnitude that the layers after it are drawn for.

    Source:
        He et al. 2020 (MoCo), section 4.2, and its detection code.
    """

    def __init__(self, **encoder) -> None:
        super().__init__()
        whole = ResNet(**encoder)
        self.layer4 = whole.layer4
        self.norm = nn.BatchNorm2d(whole.feat_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map regions [N, C, H, W] to [N, 2C, H/2, W/2]."""
        return self.norm(self.layer4(x))
