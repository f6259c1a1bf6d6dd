"""ResNet with a width multiplier and a CIFAR stem; state-dict keys as in torchvision."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.resnet import BasicBlock, Bottleneck

from mmsimclr.errors import InputError, check_choice
from mmsimclr.registry import MODELS, in_own_scope

#: The map, as ``out_indices`` names it, that each named feature is taken from, in the order of the network.
STAGE_INDICES = {'stem': 'stem', 'layer1': 0, 'layer2': 1, 'layer3': 2, 'layer4': 3, 'pooled': 3}
MAP_INDICES = tuple(dict.fromkeys(STAGE_INDICES.values()))
STAGE_NAMES = {index: name for name, index in STAGE_INDICES.items() if name != 'pooled'}
NORMS = {'BN': nn.BatchNorm2d, 'SyncBN': nn.SyncBatchNorm, 'GN': nn.GroupNorm}
STEM_POOLS = ('torch', 'same')
SMALL_IMAGE_PX = 64          # up to this side the 7x7 stem leaves a last map of 2x2 or less


def out_indices_of(stages: Iterable[str]) -> tuple[int | str, ...]:
    """Return the ``out_indices`` of a :class:`ResNet` that returns the maps of some ``STAGE_INDICES``."""
    wanted = {STAGE_INDICES[stage] for stage in stages}
    return tuple(index for index in MAP_INDICES if index in wanted)


class StemPool(nn.Module):
    """Max pool of 3x3 and stride 2.

    Args:
        padding: 'torch' pads by 1 on both sides; 'same' as TensorFlow: an even side by 0 before and 1 after,
            so the windows lie one pixel further along than torch's, an odd side by 1 and 1.
    """

    def __init__(self, padding: str):
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x`` [N, C, H, W] to [N, C, ceil(H/2), ceil(W/2)]."""
        if self.padding == 'torch':
            return F.max_pool2d(x, 3, stride=2, padding=1)
        height, width = x.shape[-2:]
        return F.max_pool2d(x, 3, stride=2, padding=(height % 2, width % 2), ceil_mode=True)


# Depth: (block, blocks per stage); He et al. 2016, Table 1. As in checkpoints.encoder_weights.
ARCHITECTURES = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@MODELS.register_module()
class ResNet(BaseModule):
    """The encoder of SimCLR.

    Its blocks are torchvision's, and so are the weights at the start: convolutions Kaiming-normal by fan-out
    (Google's code draws from a truncated normal of variance 1/fan-in).

    Args:
        depth: Number of layers: 18, 34, 50, 101 or 152.
        width_multiplier: Factor on every channel count (SimCLR uses 1, 2 and 4); fractions too.
        stem: 'imagenet', 7x7 of stride 2 and a max pool; or 'cifar', 3x3 of stride 1 and no pool.
        base_channels: Channels of the stem at width 1.
        out_indices: Maps to return, in the order of the network: 0 to 3 for the stages, 'stem' for
            the stem after norm and ReLU, before its max pool.
        frozen_stages: -1 trains everything; 0 freezes the stem, k also the stages 1 to k: no gradient, and
            norms in eval mode whatever ``train()`` says.
        norm_eval: Keep every batch norm in eval mode.
        norm_cfg: Norm type 'BN', 'SyncBN', 'GN' or a class, and its own arguments.
        zero_init_residual: Start the last norm weight of each block at 0 (Goyal et al. 2017, §5.1).
        stem_pool: Padding of the max pool, see :class:`StemPool`; official checkpoints need 'same'.
        project_first_shortcut: Give layer1.0 a 1x1 projection shortcut where depth 18 and 34 have none in
            torchvision; official checkpoints need it.
        norm_eps: Epsilon of the norms, unless ``norm_cfg`` gives its own ``eps``.
        in_channels: Channels of the images.
        stem_padding: Padding of the stem's convolution, half its kernel by default; solo-learn's CIFAR
            checkpoints need 2.
        init_cfg: MMEngine initialisation; ``dict(type='Pretrained', checkpoint=...)`` fills all or raises.

    Attributes:
        feat_dim: Channels of the last stage.
        settings: Arguments, as plain values, of an encoder that computes the same; checkpoints record them.

    Source:
        He et al. 2016; width and blocks as in Chen et al. 2020 and google-research/simclr.
    """

    num_stages = 4

    def __init__(self, depth: int = 50, width_multiplier: float = 1, stem: str = 'imagenet',
                 base_channels: int = 64, out_indices: Sequence[int | str] = (3,), frozen_stages: int = -1,
                 norm_eval: bool = False, norm_cfg: dict | None = None, zero_init_residual: bool = True,
                 stem_pool: str = 'torch', project_first_shortcut: bool = False, norm_eps: float = 1e-5,
                 stem_padding: int | None = None, in_channels: int = 3,
                 init_cfg: dict | list[dict] | None = None):
        super().__init__(in_own_scope(init_cfg))
        check_choice(depth, 'depth', ARCHITECTURES)
        check_choice(stem, 'stem', ('imagenet', 'cifar'))
        check_choice(stem_pool, 'stem_pool', STEM_POOLS)
        check_choice(frozen_stages, 'frozen_stages', (-1, 0, 1, 2, 3, 4))
        if isinstance(out_indices, str) or not isinstance(out_indices, Sequence) or not out_indices:
            raise InputError(f'out_indices must be a non-empty sequence, got {out_indices!r}')
        for index in out_indices:
            check_choice(index, 'out_indices', MAP_INDICES)
        width = base_channels * width_multiplier
        if not 1 <= width < math.inf or width != int(width):
            raise InputError('base_channels * width_multiplier must be a whole number of channels, '
                             f'got {base_channels} * {width_multiplier} = {width}')

        self.out_indices = tuple(index for index in MAP_INDICES if index in out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.warns_of_small_images = stem == 'imagenet'
        self.norm_cfg = {'type': 'BN', 'eps': norm_eps, **(norm_cfg or {})}

        width = int(width)
        block, num_blocks = ARCHITECTURES[depth]
        self.settings = dict(
            depth=depth, width_multiplier=width // 64 if width % 64 == 0 else width / 64, stem=stem,
            project_first_shortcut=project_first_shortcut and block is BasicBlock,
            norm_eps=self.norm_cfg['eps'])
        kernel, stride = (7, 2) if stem == 'imagenet' else (3, 1)
        padding = kernel // 2 if stem_padding is None else stem_padding
        self.conv1 = nn.Conv2d(in_channels, width, kernel, stride, padding, bias=False)
        if in_channels != 3:
            self.settings['in_channels'] = in_channels
        if stem_padding is not None:
            self.settings['stem_padding'] = stem_padding
        self.bn1 = self._norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if stem == 'cifar' else StemPool(stem_pool)
        if stem == 'imagenet':
            self.settings['stem_pool'] = stem_pool
        in_channels = width
        for stage in range(4):
            channels, project = width * 2**stage, stage == 0 and project_first_shortcut
            self.add_module(f'layer{stage + 1}', self._stage(
                block, num_blocks[stage], in_channels, channels, 1 if stage == 0 else 2, project))
            in_channels = channels * block.expansion
        self.feat_dim = in_channels

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps named by ``out_indices`` for the images ``x``, float [N, C, H, W]."""
        if self.warns_of_small_images and min(x.shape[-2:]) <= SMALL_IMAGE_PX:
            self.warns_of_small_images = False
            warnings.warn(f'the 7x7 stem leaves little of images of {x.shape[-2]}x{x.shape[-1]} '
                          "pixels; ResNet(stem='cifar') keeps their resolution", stacklevel=2)
        x = self.relu(self.bn1(self.conv1(x)))
        maps = {'stem': x}
        x = self.maxpool(x)
        for stage in range(self.num_stages):
            x = maps[stage] = getattr(self, f'layer{stage + 1}')(x)
        return tuple(maps[index] for index in self.out_indices)

    def train(self, mode: bool = True) -> 'ResNet':
        super().train(mode)
        self._freeze()
        return self

    @staticmethod
    def arguments_for(stages: Iterable[str]) -> dict[str, Any]:
        """Return the arguments of an encoder that offers these stages."""
        return dict(out_indices=out_indices_of(stages))

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the maps that it returns, in their order."""
        return tuple(STAGE_NAMES[index] for index in self.out_indices)

    def set_stem_pool(self, stem_pool: str) -> None:
        """Change the max pool of the 7x7 stem to 'torch' or 'same'; it has no weights."""
        check_choice(stem_pool, 'stem_pool', STEM_POOLS)
        if self.settings['stem'] == 'cifar':
            raise InputError('the CIFAR stem has no max pool')
        self.settings['stem_pool'] = self.maxpool.padding = stem_pool

    @property
    def stem_pool(self) -> str:
        """'torch' or 'same'; 'none' without a max pool."""
        return self.settings.get('stem_pool', 'none')

    def _freeze(self) -> None:
        frozen = [self.conv1, self.bn1] if self.frozen_stages >= 0 else []
        frozen += [getattr(self, f'layer{k}') for k in range(1, self.frozen_stages + 1)]
        for module in frozen:
            module.eval().requires_grad_(False)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def _norm(self, channels: int) -> nn.Module:
        return build_norm(self.norm_cfg, channels, NORMS)

    def _stage(self, block: type[BasicBlock | Bottleneck], num_blocks: int, in_channels: int,
               channels: int, stride: int, project: bool) -> nn.Sequential:
        out_channels = channels * block.expansion
        shortcut = None
        if project or stride != 1 or in_channels != out_channels:
            shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                                     self._norm(out_channels))
        first = block(in_channels, channels, stride, shortcut, norm_layer=self._norm)
        return nn.Sequential(first, *(block(out_channels, channels, norm_layer=self._norm)
                                      for _ in range(1, num_blocks)))


def build_norm(norm_cfg: Mapping[str, Any], channels: int, kinds: Mapping[str, type[nn.Module]],
               **others) -> nn.Module:
    """Return a norm of one of the kinds, or of a class.

    Refused are arguments that torch takes and that make its output NaN, or its statistics diverge.
    """
    arguments = dict(norm_cfg)
    kind, requires_grad = arguments.pop('type'), arguments.pop('requires_grad', True)
    if isinstance(kind, str):
        kind = kinds[check_choice(kind, "norm_cfg['type']", kinds)]
    eps, momentum = arguments.get('eps', 1e-5), arguments.get('momentum', 0.1)
    if not isinstance(eps, int | float) or not 0 < eps < 1:
        raise InputError(f'eps of a norm must be in (0, 1), got {eps!r} (1e-5 is usual)')
    if momentum is not None and not (isinstance(momentum, int | float) and 0 <= momentum <= 1):
        raise InputError(f'momentum of a norm must be in [0, 1], or None, got {momentum!r} (0.1 is usual)')
    size = {'num_channels' if kind is nn.GroupNorm else 'num_features': channels}
    return kind(**size, **arguments, **others).requires_grad_(requires_grad)
