"""Grid pooling that brings the maps of stem and stages to about 9,000 dimensions each."""

import torch.nn.functional as F
from torch import Tensor

from mmsimclr.errors import check_choice

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
        pooled = F.avg_pool2d(maps, kernel, stride, padding)
    else:
        pooled = F.adaptive_avg_pool2d(maps, (min(grid, height), min(grid, width)))
    return pooled.flatten(1)
