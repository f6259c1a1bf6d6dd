"""The parts of a ResNet: convolution, stem pool, the two kinds of block."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias whose padding keeps the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


class StemPool(nn.Module):
    """3x3 max pool of stride 2.

    Args:
        padding: 'torch' pads by 1 on both sides; 'same' as TensorFlow's 'SAME': an even side by 0 before
            and 1 after (so the windows lie one pixel further along than torch's), an odd side by 1 and 1.
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

    def extra_repr(self) -> str:
        """Show the padding."""
        return f'padding={self.padding!r}'


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the block of 18 and 34 layers."""

    expansion = 1
    last_norm = 'bn2'

    def __init__(self, in_channels: int, channels: int, stride: int,
                 norm: Callable[[int], nn.Module], downsample: nn.Module | None):
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = norm(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = norm(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [N, in_channels, H, W] to [N, channels, H/stride, W/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1: the block of 50 layers and more."""

    expansion = 4
    last_norm = 'bn3'

    def __init__(self, in_channels: int, channels: int, stride: int,
                 norm: Callable[[int], nn.Module], downsample: nn.Module | None):
        super().__init__()
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = norm(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = norm(channels)
        self.conv3 = conv(channels, channels * self.expansion, 1)
        self.bn3 = norm(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [N, in_channels, H, W] to [N, 4 * channels, H/stride, W/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)
