"""Random light along the principal components of ImageNet's colours."""

from __future__ import annotations

import math
import random

import numpy as np

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import Transform, check_image

# Of the covariance of ImageNet's RGB values, on the 0-255 scale; component j is column j. As published with
# fb.resnet.torch (Facebook, 2016), on the scale of 0 to 1: 0.2175, 0.0188, 0.0045.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045]) * 255
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009],
                         [-0.5808, -0.0045, -0.8140],
                         [-0.5836, -0.6948, 0.4203]])


@TRANSFORMS.register_module()
class PCALighting(Transform):
    """Add to every pixel the same random colour, drawn along the principal components.

    The colour is ``sum_j alpha_j * eigenvalue_j * eigenvector_j``, each alpha normal.

    Args:
        alpha_std: Deviation of the alphas, >= 0.

    Raises:
        ValueError: If alpha_std is negative or not finite.

    Source:
        Krizhevsky et al. 2012, section 4.1.
    """

    def __init__(self, alpha_std: float = 0.1) -> None:
        if not 0 <= alpha_std < math.inf:
            raise ValueError(f'PCALighting.alpha_std must be >= 0 and finite, got {alpha_std!r} '
                             '(0.1 is usual)')
        self.alpha_std = alpha_std

    def transform(self, results: dict) -> dict:
        """Change the light of ``img``."""
        img = check_image(results['img'], 'PCALighting')
        # Not random.gauss, which keeps every second number for the next image.
        alphas = [random.normalvariate(0.0, self.alpha_std) for _ in EIGENVALUES]
        results['img'] = add_colour(img, EIGENVECTORS @ (alphas * EIGENVALUES))
        return results


def add_colour(img: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W, 3] plus a colour [3] on the 0-255 scale, rounded and clipped."""
    return (img + colour).round().clip(0, 255).astype(np.uint8)
