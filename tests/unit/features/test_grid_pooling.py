"""Features pooled over the windows of a grid, and images squashed into a square."""

import numpy as np
import pytest
import torch
from extraction_samples import small
from torchvision.transforms import v2

from mmsimclr.checkpoints import UNIT_RANGE
from mmsimclr.features import Embedder, Preparation
from mmsimclr.models import ResNet

STAGES = ('stem', 'layer1', 'layer2', 'layer3', 'layer4')
# Kernel, stride and padding at 224 pixels, and side of the grid: the table of Goyal et al. and MMSelfSup.
WINDOWS = {'stem': (10, 10, 4, 12), 'layer1': (16, 8, 0, 6), 'layer2': (13, 5, 0, 4), 'layer3': (8, 3, 0, 3),
           'layer4': (6, 1, 0, 2)}


def resnet(**arguments) -> ResNet:
    torch.manual_seed(0)
    return ResNet(depth=18, base_channels=4, out_indices=('stem', 0, 1, 2, 3), **arguments).eval()


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def windows(maps: np.ndarray, kernel: int, stride: int, padding: int, side: int) -> np.ndarray:
    """Average each window of maps [C, H, W], zeros of the padding counted, by slicing."""
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    return np.stack([padded[:, stride * row:stride * row + kernel, stride * column:stride * column + kernel]
                     .mean(axis=(1, 2)) for row in range(side) for column in range(side)], axis=1).ravel()


def test_windows_at_224_pixels_are_those_of_the_protocol():
    backbone = resnet()
    got = Embedder(backbone, 'cpu', stages=STAGES, pooling='grid', input=UNIT_RANGE, resize_px=224)(
        image(224, 224))
    with torch.no_grad():
        maps = backbone(torch.from_numpy(image(224, 224)).permute(2, 0, 1)[None] / 255)
    assert [m.shape[-1] for m in maps] == [112, 56, 28, 14, 7]
    for stage, m in zip(STAGES, maps, strict=True):
        assert got[stage].shape == (1, m.shape[1] * WINDOWS[stage][-1] ** 2)
        want = windows(m[0].numpy(), *WINDOWS[stage])
        np.testing.assert_allclose(got[stage][0], want, rtol=1e-4, atol=1e-5)


def test_smaller_maps_are_divided_into_as_many_windows_as_they_have_positions_for():
    embedder = small(resnet(stem='cifar'), stages=STAGES, pooling='grid', resize_px=16, crop_px=16)
    # Maps of 16, 16, 8, 4 and 2 positions a side, 4, 4, 8, 16 and 32 channels.
    assert embedder.feat_dims == dict(
        stem=4 * 144, layer1=4 * 36, layer2=8 * 16, layer3=16 * 9, layer4=32 * 4)


def test_pooling_and_squashing_are_in_the_fingerprint():
    made = [small(resnet(stem='cifar'), stages='layer4', **arguments) for arguments in (
        {}, dict(pooling='grid'), dict(squash=True), dict(interpolation='bilinear'))]
    assert len({embedder.fingerprint() for embedder in made}) == 4
    assert [embedder.describe()['pooling'] for embedder in made] == ['average', 'grid', 'average', 'average']


@pytest.mark.parametrize('arguments', [
    dict(pooling='grid'), dict(pooling='grid', stages=('layer1', 'pooled')),
    dict(pooling='max', stages='layer1')])
def test_unknown_pooling_and_a_grid_of_the_average_are_refused(arguments):
    with pytest.raises(ValueError, match="'average', or 'grid' for stages other than 'pooled'"):
        small(resnet(), **arguments)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_a_squashed_image_is_the_whole_one_resized_twice_as_in_torchvision(interpolation):
    pixels = image(120, 170)
    mode = v2.InterpolationMode(interpolation)
    resize_twice = v2.Compose([v2.Resize(64, mode), v2.Resize((56, 56), mode)])
    want = resize_twice(torch.from_numpy(pixels).permute(2, 0, 1))
    got = Preparation(64, 56, interpolation, squash=True)({'img': pixels})
    assert got.shape == (3, 56, 56) and (got.int() - want.int()).abs().max() <= 2
    cut = Preparation(64, 56, interpolation)({'img': pixels})
    assert (got.int() - cut.int()).abs().float().mean() > 10
