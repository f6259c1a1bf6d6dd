"""The official style's crop boxes have the distribution of 4,000 boxes that TensorFlow's sampler drew."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from mmsimclr.transforms import SimCLRView
from mmsimclr.transforms.batch import draw_parameters


def boxes_of(style: str, height: int, width: int, num: int = 8000) -> np.ndarray:
    policy, sizes = SimCLRView(224, crop_style=style), np.full((num, 2), (height, width))
    return draw_parameters(policy, np.arange(num, dtype=np.uint64), sizes, num_views=1).boxes


def probabilities(ours: np.ndarray, theirs: np.ndarray) -> list[float]:
    """Return the p-values of equal distributions of top, left, height, width, area and aspect."""
    columns = [[*boxes.T, boxes[:, 2] * boxes[:, 3], boxes[:, 3] / boxes[:, 2]] for boxes in (ours, theirs)]
    return [ks_2samp(*pair).pvalue for pair in zip(*columns, strict=True)]


@pytest.mark.parametrize('height, width', [(375, 500), (300, 200), (32, 32)])
def test_boxes_are_distributed_as_the_official_ones_and_torchvisions_are_not(golden_file, height, width):
    with np.load(golden_file('augment/crop_distribution.npz')) as file:
        theirs = file[f'boxes_{height}x{width}'].astype(np.int64)
    # Six tests of one style: the least of six p-values is below 0.002 about once in a hundred times.
    assert min(probabilities(boxes_of('official', height, width), theirs)) > 0.002
    assert min(probabilities(boxes_of('torchvision', height, width), theirs)) < 1e-12
