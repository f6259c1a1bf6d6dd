"""Pooling to about 9,000 dimensions: the table's windows at 224 pixels, an even grid elsewhere."""

import numpy as np
import pytest
import torch

from mmsimclr.models import POOLED_FEATURES, ResNet, pool_feature, pooled_side

# PROTOCOLS: channels of ResNet-50, kernel, stride, padding, pooled side, dimensions.
TABLE = {
    'stem': (64, 10, 10, 4, 12, 9216),
    'layer1': (256, 16, 8, 0, 6, 9216),
    'layer2': (512, 13, 5, 0, 4, 8192),
    'layer3': (1024, 8, 3, 0, 3, 9216),
    'layer4': (2048, 6, 1, 0, 2, 8192),
}


def windows(plane: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Average the windows of one plane, zeros around it, by loops."""
    padded = np.pad(plane, padding)
    side = (len(padded) - kernel) // stride + 1
    return np.array([[padded[i * stride:i * stride + kernel, j * stride:j * stride + kernel].mean()
                      for j in range(side)] for i in range(side)])


@pytest.fixture(scope='module')
def maps():
    encoder = ResNet(depth=50, base_channels=4, out_indices=('stem', 0, 1, 2, 3)).eval()
    with torch.no_grad():
        return dict(zip(POOLED_FEATURES, encoder(torch.randn(1, 3, 224, 224)), strict=True))


@pytest.mark.parametrize('feature', POOLED_FEATURES)
def test_windows_at_224_pixels_are_the_table_s(feature, maps):
    channels, kernel, stride, padding, side, dims = TABLE[feature]
    rows = pool_feature(maps[feature], feature)
    assert rows.shape == (1, maps[feature].shape[1] * side * side)
    assert channels * side * side == dims and pooled_side(feature, maps[feature].shape[-1]) == side
    want = windows(maps[feature][0, 1].numpy(), kernel, stride, padding)
    assert np.allclose(rows[0].view(-1, side, side)[1].numpy(), want, atol=1e-5)


def test_other_sizes_are_divided_evenly():
    plane = torch.arange(64.).view(1, 1, 8, 8)
    want = plane.view(4, 2, 4, 2).mean(dim=(1, 3)).flatten()
    assert torch.allclose(pool_feature(plane, 'layer2')[0], want)
    assert pool_feature(torch.rand(2, 3, 2, 2), 'stem').shape == (2, 12) and pooled_side('stem', 2) == 2


def test_an_unknown_feature_is_refused():
    with pytest.raises(ValueError, match=r"one of 'stem', .*, got 'layer5'"):
        pool_feature(torch.rand(1, 1, 7, 7), 'layer5')
