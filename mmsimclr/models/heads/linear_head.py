"""A linear classifier on one feature of an encoder, and the pooling of maps on a grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsimclr.encoders import pooled
from mmsimclr.errors import InputError, check_choice
from mmsimclr.registry import MODELS

# By feature: side of the map at 224 pixels; kernel, stride and padding there; side of the pooled grid.
_AT_224 = {
    'stem': (112, 10, 10, 4, 12),
    'layer1': (56, 16, 8, 0, 6),
    'layer2': (28, 13, 5, 0, 4),
    'layer3': (14, 8, 3, 0, 3),
    'layer4': (7, 6, 1, 0, 2),
}
#: Features 1 to 5: the stem and the four stages.
POOLED_FEATURES = tuple(_AT_224)


def pooled_side(feature: str, map_side: int) -> int:
    """Return the side of the grid that :func:`pool_feature` makes of a square map of this side."""
    return min(_AT_224[check_choice(feature, 'feature', POOLED_FEATURES)][-1], map_side)


def pool_feature(maps: Tensor, feature: str) -> Tensor:
    """Average the windows of maps [N, C, H, W] of one of ``POOLED_FEATURES``; return [N, C * S * S].

    S is 12, 6, 4, 3 and 2 for features 1 to 5: about 9,000 numbers with ResNet-50. At 224 pixels the windows
    are those of the original protocol, which overlap and, of the stem, count the padding's zeros. Other maps
    are divided evenly into a grid of the same size, or of their own if smaller.

    Source:
        Goyal et al. 2019, "Scaling and Benchmarking Self-Supervised Visual Representation Learning",
        as VISSL and MMSelfSup implement it for ResNet-50.
    """
    side_at_224, kernel, stride, padding, grid = _AT_224[check_choice(feature, 'feature', POOLED_FEATURES)]
    height, width = maps.shape[-2:]
    if height == width == side_at_224:
        return F.avg_pool2d(maps, kernel, stride, padding).flatten(1)
    return F.adaptive_avg_pool2d(maps, (min(grid, height), min(grid, width))).flatten(1)


@MODELS.register_module()
class LinearHead(BaseModule):
    """Pool the maps of a feature and classify them linearly.

    Args:
        map_shape, num_classes: (channels, height, width) of the feature's maps, (channels, 1, 1) of vectors,
            and the number of classes, >= 1; a protocol fills them in.
        feature: ``'pooled'``, the last map averaged over its positions; one of ``POOLED_FEATURES``, see
            :func:`pool_feature`; or a layer of the projection head, ``'projection'``, ...
        norm: Whether a batch norm without parameters, per channel, stands between pooling and classifier.
        init_std: Deviation of the weights at the start, which are normal; the bias starts at 0.

    Source:
        The order pooling, norm, classifier: MMSelfSup 1.x and VISSL.
    """

    def __init__(self, map_shape: Sequence[int], num_classes: int, feature: str = 'pooled',
                 norm: bool = False, init_std: float = 0.01, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        if num_classes < 1 or not init_std >= 0:
            raise InputError(f'num_classes must be >= 1 and init_std >= 0, got {num_classes} and {init_std}')
        if feature not in ('pooled', *POOLED_FEATURES) and not feature.startswith('projection'):
            raise InputError(f"feature must be 'pooled', one of {', '.join(POOLED_FEATURES)}, or a layer of "
                             f"the projection head such as 'projection', got {feature!r}")
        self.feature = feature
        self.channels, height, width = map_shape
        self.on_grid = feature in POOLED_FEATURES
        cells = pooled_side(feature, height) * pooled_side(feature, width) if self.on_grid else 1
        self.norm = nn.BatchNorm1d(self.channels, affine=False) if norm else nn.Identity()
        self.fc = nn.Linear(self.channels * cells, num_classes)
        nn.init.normal_(self.fc.weight, std=init_std)
        nn.init.zeros_(self.fc.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Return logits, [N, num_classes], of the feature's maps [N, C, H, W], or vectors [N, C]."""
        rows = pool_feature(maps, self.feature) if self.on_grid else pooled(maps)
        rows = self.norm(rows.unflatten(1, (self.channels, -1))).flatten(1)
        return self.fc(rows)

    @property
    def is_blank(self) -> bool:
        """Whether every weight is zero, so that every image gets the same answer."""
        return not torch.any(self.fc.weight).item()
