"""Write three small folders of images to try things on: photographs, microscopy and satellite.

Command: python examples/synthetic_images.py OUT [--num-images 200]

OUT/photographs has 8-bit JPEG, OUT/microscopy 16-bit grey PNG of cells, OUT/satellite 13-band 16-bit TIFF of fields.
Below each, train/CLASS and val/CLASS have the images of four classes each. They look like their kind from afar, no more.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import tifffile

from mmsimclr.datasets import Shapes

SIDE = 96


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
    """Return fields of which most have a kind's spectrum, uint16 [SIDE, SIDE, 13], reflectance times 10,000."""
    seeds = generator.uniform(0, SIDE, (14, 2))
    owners = np.where(generator.random(14) < 0.65, kind, generator.integers(0, 4, 14))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    nearest = np.hypot(rows[..., None] - seeds[:, 0], columns[..., None] - seeds[:, 1]).argmin(axis=2)
    image = spectra[owners[nearest]] * (1 + 0.06 * smooth(generator, 2, 13)) + generator.normal(0, 60, (SIDE, SIDE, 13))
    return (image * generator.uniform(0.85, 1.15) + generator.uniform(0, 300)).clip(0, 65535).astype(np.uint16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path)
    parser.add_argument('--num-images', type=int, default=200, help='of each class to train on; a fifth as many to test')
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    spectra = generator.uniform(500, 6000, (4, 13))
    names = dict(microscopy=('rings_small', 'discs_small', 'rings_large', 'discs_large'),
                 satellite=('wheat', 'forest', 'water', 'town'))
    for part, count in (('train', arguments.num_images), ('val', arguments.num_images // 5)):
        shapes = Shapes(num_images=40 * count, split=part if part == 'train' else 'val', objects='single', image_size=SIDE)
        seen = dict.fromkeys(range(4), 0)
        for place in range(len(shapes)):
            item = shapes.get_data_info(place)
            label = int(item['gt_label'])
            if seen.get(label, count) < count:
                folder = arguments.out / 'photographs' / part / shapes.metainfo['classes'][label]
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f'{seen[label]:04}.jpg'), item['img'][:, :, ::-1])
                seen[label] += 1
            if min(seen.values()) == count:
                break
        for kind in range(4):
            for data in names:
                (arguments.out / data / part / names[data][kind]).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                cv2.imwrite(str(arguments.out / 'microscopy' / part / names['microscopy'][kind] / f'{number:04}.png'),
                            cells(kind, generator))
                tifffile.imwrite(arguments.out / 'satellite' / part / names['satellite'][kind] / f'{number:04}.tif',
                                 np.moveaxis(fields(kind, generator, spectra), -1, 0), compression='zlib')
    print(f'written: {arguments.out}')


if __name__ == '__main__':
    main()
