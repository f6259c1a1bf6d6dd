"""Write three small folders of images to try things on: photographs, microscopy and satellite.

Command: python examples/synthetic_images.py OUT [--num-images 60]

OUT/photographs has 8-bit JPEG, OUT/microscopy 16-bit grey PNG of cells, OUT/satellite 13-band 16-bit TIFF of
fields. Below each, train/CLASS and val/CLASS have the images of four classes.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import tifffile

from mmsimclr.datasets import Shapes

SIDE = 96
CELLS = ('rings_small', 'discs_small', 'rings_large', 'discs_large')
FIELDS = ('wheat', 'forest', 'water', 'town')


def smooth(generator: np.random.Generator, sigma_px: float, channels: int = 1) -> np.ndarray:
    """Return smooth noise of deviation 1, float [SIDE, SIDE, channels]."""
    noise = generator.standard_normal((SIDE, SIDE, channels))
    noise = cv2.GaussianBlur(noise, (0, 0), sigma_px).reshape(noise.shape)
    return noise / noise.std()


def cells(kind: int, generator: np.random.Generator) -> np.ndarray:
    """Return cells, uint16 [SIDE, SIDE]: small or large, filled or with a bright rim."""
    image = np.full((SIDE, SIDE), 0.1)
    radius = 6 if kind < 2 else 12
    for _ in range(generator.integers(5, 9) * (2 if kind < 2 else 1)):
        centre, axes = generator.integers(0, SIDE, 2).tolist(), generator.normal(radius, 0.15 * radius, 2)
        size, angle = [max(3, round(axis)) for axis in axes], float(generator.uniform(0, 180))
        value = float(generator.uniform(0.5, 0.9))
        cv2.ellipse(image, centre, size, angle, 0, 360, value, -1 if kind % 2 else 2)
    image = cv2.GaussianBlur(image, (0, 0), generator.uniform(0.6, 1.4))
    image *= generator.uniform(0.6, 1.3) * (1 + 0.15 * smooth(generator, 30)[:, :, 0])       # lamp, shading
    return (3000 * image + generator.normal(0, 60, image.shape) + 400).clip(0, 65535).astype(np.uint16)


def fields(kind: int, generator: np.random.Generator, spectra: np.ndarray) -> np.ndarray:
    """Return fields, uint16 [SIDE, SIDE, 13], reflectance times 10,000; most have the spectrum of a kind."""
    seeds = generator.uniform(0, SIDE, (14, 2))
    owners = np.where(generator.random(14) < 0.65, kind, generator.integers(0, 4, 14))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    nearest = np.hypot(rows[..., None] - seeds[:, 0], columns[..., None] - seeds[:, 1]).argmin(axis=2)
    image = spectra[owners[nearest]] * (1 + 0.06 * smooth(generator, 2, 13))
    image = image * generator.uniform(0.85, 1.15) + generator.uniform(0, 300)                # sun, haze
    return (image + generator.normal(0, 60, image.shape)).clip(0, 65535).astype(np.uint16)


def write_shapes(folder: Path, split: str, count: int) -> None:
    """Write so many images of each of four shapes."""
    shapes = Shapes(num_images=40 * count, split=split, objects='single', image_size=SIDE)
    for label in range(4):
        own = np.flatnonzero(shapes.get_gt_labels() == label)[:count]
        for number, place in enumerate(own.tolist()):
            path = folder / shapes.metainfo['classes'][label] / f'{number:04}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), shapes.get_data_info(place)['img'][:, :, ::-1])


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path)
    parser.add_argument('--num-images', type=int, default=60, help='of each class; a fifth as many to test')
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    spectra = generator.uniform(500, 6000, (4, 13))
    for part, count in (('train', arguments.num_images), ('val', arguments.num_images // 5)):
        write_shapes(arguments.out / 'photographs' / part, part, count)
        for kind, (cell, field) in enumerate(zip(CELLS, FIELDS, strict=True)):
            grey, bands = (arguments.out / data / part / name for data, name in (
                ('microscopy', cell), ('satellite', field)))
            for folder in (grey, bands):
                folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                cv2.imwrite(str(grey / f'{number:04}.png'), cells(kind, generator))
                image = np.moveaxis(fields(kind, generator, spectra), -1, 0)
                tifffile.imwrite(bands / f'{number:04}.tif', image, compression='zlib')
    print(f'written: {arguments.out}')


if __name__ == '__main__':
    main()
