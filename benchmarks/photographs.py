"""Generated images with the statistics of photographs, to decode and to augment.

Opaque discs whose radii follow a power law hide each other ("dead leaves", Lee, Mumford and Huang 2001),
which gives edges at all scales; over them lies texture with a 1/f amplitude spectrum (Field 1987).
"""

from pathlib import Path

import cv2
import numpy as np

RADII_PX = (6, 250)
NUM_DISCS = 300


def photograph(seed: int, height: int = 375, width: int = 500) -> np.ndarray:
    """Return an image, RGB uint8 [height, width, 3]."""
    generator = np.random.default_rng(seed)
    small, large = RADII_PX
    # The density of radii falls with r^-3: small discs are many, yet all scales cover the same area.
    radii = (small**-2 - generator.random(NUM_DISCS) * (small**-2 - large**-2)) ** -0.5
    img = np.full((height, width, 3), generator.integers(0, 256, 3), np.uint8)
    for radius in radii:
        centre = int(generator.integers(width)), int(generator.integers(height))
        grey, tint = generator.integers(20, 236), generator.normal(0, 25, 3)
        cv2.circle(img, centre, int(radius), np.clip(grey + tint, 0, 255).tolist(), -1, cv2.LINE_AA)
    texture = _one_over_f(generator, height, width)
    return np.clip(img + 24 * texture[..., None] + generator.normal(0, 3, img.shape), 0, 255).astype(np.uint8)


def _one_over_f(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return noise of unit variance whose amplitude falls with the frequency, float [height, width]."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(generator.normal(size=(height, width))) / frequency, (height, width))
    return noise / noise.std()


def write_photographs(folder: Path, number: int, quality: int = 90) -> list[Path]:
    """Write ``number`` JPEG files of about 500 pixels, landscape and portrait, and return their paths."""
    paths = []
    for seed in range(number):
        size = ((375, 500), (333, 500), (500, 375), (500, 500))[seed % 4]
        paths.append(folder / f'{seed:04d}.jpg')
        img = cv2.cvtColor(photograph(seed, *size), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(paths[-1]), img, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return paths
