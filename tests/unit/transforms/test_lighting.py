"""PCA lighting against the formula of AlexNet, written out."""

import random

import numpy as np
import pytest

from mmsimclr.transforms import PCALighting
from mmsimclr.transforms.color import EIGENVALUES, EIGENVECTORS

IMAGE = np.random.default_rng(0).integers(60, 200, (5, 7, 3), dtype=np.uint8)


def test_every_pixel_moves_along_the_principal_components():
    random.seed(4)
    result = PCALighting(0.1)({'img': IMAGE})['img']
    random.seed(4)
    alphas = [random.normalvariate(0, 0.1) for _ in range(3)]
    want = IMAGE.astype(float)
    for channel in range(3):
        for alpha, value, component in zip(alphas, (55.4625, 4.794, 1.1475), EIGENVECTORS.T, strict=True):
            want[..., channel] += alpha * value * component[channel]
    assert np.array_equal(result, want.round().astype(np.uint8))
    assert result.dtype == np.uint8 and not np.array_equal(result, IMAGE)


def test_components_are_orthonormal_and_the_first_is_brightness():
    assert np.allclose(EIGENVECTORS.T @ EIGENVECTORS, np.eye(3), atol=1e-3)
    assert np.ptp(EIGENVECTORS[:, 0]) < 0.02 and EIGENVALUES[0] > 10 * EIGENVALUES[1]


def test_values_are_clipped_and_the_input_is_left_alone():
    white = np.full((2, 2, 3), 255, np.uint8)
    for seed in range(20):
        random.seed(seed)
        moved = PCALighting(1.0)({'img': white})['img'].astype(int)
        assert 255 - moved.min() < 3 * 55.5 * 0.6 + 20      # no wrapping around to 0
    assert white.min() == 255


@pytest.mark.parametrize('alpha_std', [-0.1, float('nan'), float('inf')])
def test_a_deviation_out_of_range_is_refused(alpha_std):
    with pytest.raises(ValueError, match='alpha_std must be >= 0'):
        PCALighting(alpha_std)
