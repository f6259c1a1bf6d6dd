"""The random crop and the random flip."""

import math
import random
from collections.abc import Sequence

import cv2
import numpy as np

from mmsimclr.errors import check_choice
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import (
    ImageTransform,
    Transform,
    check_image,
    check_probability,
    check_range,
    check_size,
)
from mmsimclr.transforms.resize import INTERPOLATIONS, resize

Box = tuple[int, int, int, int]                                # top, left, height, width, in pixels
CROP_ATTEMPTS = {'torchvision': 10, 'official': 100}            # by style
MIN_OBJECT_COVERED = 0.1                                       # of the image, in the official code


@TRANSFORMS.register_module()
class RandomResizedCrop(Transform):
    """Crop a random box and resize it to ``size``.

    Args:
        size: Side or (height, width) of the result, in pixels.
        scale: Range of the box's area as a fraction of the image's, within ]0, 1].
        ratio: Range of the box's width / height.
        interpolation: 'bicubic' (the paper), 'bilinear' (OpenMMLab's recipe), 'nearest', 'area'.
        antialias: Whether the filter widens when shrinking (see :func:`resize`); not in the official code.
        style: 'torchvision': area uniform in ``scale``, aspect log-uniform in ``ratio``; after ten boxes that
            do not fit, the largest central one. 'official': see :func:`official_boxes`; after a hundred
            boxes that do not fit, the whole image.

    Source:
        Szegedy et al. 2015, section 6; Chen et al. 2020, appendix A.
    """

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.08, 1.0),
                 ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: str = 'bicubic',
                 antialias: bool = True, style: str = 'torchvision') -> None:
        self.size = check_size(size, 'RandomResizedCrop.size')
        self.scale = check_range(scale, 'RandomResizedCrop.scale', high=1, open_low=True)
        self.ratio = check_range(ratio, 'RandomResizedCrop.ratio', open_low=True)
        self.interpolation = check_choice(interpolation, 'RandomResizedCrop.interpolation', INTERPOLATIONS)
        self.antialias = antialias
        self.style = check_choice(style, 'RandomResizedCrop.style', CROP_ATTEMPTS)
        self._log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])

    def draw_box(self, height: int, width: int) -> Box:
        """Draw a box inside an image of this size."""
        attempts = range(CROP_ATTEMPTS[self.style])
        if self.style == 'official':
            for _ in attempts:
                draws = np.array([random.random() for _ in range(4)])
                box, fits = official_boxes(self, np.array((height, width)), draws)
                if fits:
                    return tuple(box.tolist())
            return self.last_box(height, width)
        for _ in attempts:
            area = height * width * random.uniform(*self.scale)
            aspect = math.exp(random.uniform(*self._log_ratio))
            crop_width = round(math.sqrt(area * aspect))
            crop_height = round(math.sqrt(area / aspect))
            if 0 < crop_width <= width and 0 < crop_height <= height:
                # A third of the time of randint; 2**-53 is no bias here.
                top = int(random.random() * (height - crop_height + 1))
                left = int(random.random() * (width - crop_width + 1))
                return top, left, crop_height, crop_width
        return self.last_box(height, width)

    def last_box(self, height: int, width: int) -> Box:
        """Return the box where no attempt fits: the largest central one within ``ratio``, or the image."""
        if self.style == 'official':
            return 0, 0, height, width
        crop_height, crop_width = height, width
        if width / height < self.ratio[0]:
            crop_height = max(1, min(height, round(width / self.ratio[0])))
        elif width / height > self.ratio[1]:
            crop_width = max(1, min(width, round(height * self.ratio[1])))
        return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width

    def transform(self, results: dict) -> dict:
        """Crop and resize ``img``; the box is ``crop_box`` if it was drawn before the image was decoded."""
        img = check_image(results['img'], 'RandomResizedCrop')
        box = results.pop('crop_box', None) or self.draw_box(*img.shape[:2])
        results['img'] = resized_crop(img, box, self.size, self.interpolation, self.antialias)
        return results


def official_boxes(crop: RandomResizedCrop, sizes: np.ndarray, draws: np.ndarray
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes as the official code draws them, int64 [..., 4], and whether each fits, bool [...].

    The aspect is uniform in ``crop.ratio`` times that of ``crop.size``. The height is uniform between those
    of the least area of ``crop.scale`` and of the largest that fits, so small boxes are likelier than with
    torchvision, and a box covers at least a tenth of the image. Numbers are in float32, as there.
    ``sizes`` [..., 2] are the images' (height, width) in pixels, ``draws`` [..., 4] uniform in [0, 1).

    Source:
        google-research/simclr, data_util.py, ``crop_and_resize``, which calls TensorFlow's
        ``sample_distorted_bounding_box`` (core/kernels/image/sample_distorted_bounding_box_op.cc).
    """
    single = np.float32
    height, width = (sizes[..., side].astype(single) for side in (0, 1))
    of_view = crop.size[1] / crop.size[0]
    narrowest, widest = (single(ratio * of_view) for ratio in crop.ratio)
    aspect = draws[..., 0].astype(single) * (widest - narrowest) + narrowest
    smallest, largest = (single(share) * width * height for share in crop.scale)
    lowest, highest = (np.rint(np.sqrt(area / aspect)) for area in (smallest, largest))
    # The highest box as wide as the image, to rounding.
    fitting = np.trunc((width.astype(float) + 0.5 - single(1e-7)) / aspect.astype(float)).astype(single)
    fitting = fitting - (np.rint(fitting * aspect) > width)
    highest = np.minimum(np.where(np.rint(highest * aspect) > width, fitting, highest), height)
    lowest = np.minimum(lowest, highest)
    rows = (lowest + np.floor(draws[..., 1] * (highest - lowest + 1))).astype(single)
    # Rounding may have left the range of areas by a row.
    rows = rows + (rows * np.rint(rows * aspect) < smallest)
    rows = rows - (rows * np.rint(rows * aspect) > largest)
    columns = np.rint(rows * aspect)
    area = rows * columns
    fits = ((area >= smallest) & (area <= largest) & (columns <= width) & (rows <= height) & (area >= 1)
            & (area / (height * width) >= single(MIN_OBJECT_COVERED)))
    top, left = np.floor(draws[..., 2] * (height - rows)), np.floor(draws[..., 3] * (width - columns))
    return np.stack([top, left, rows, columns], axis=-1).astype(np.int64), fits


def resized_crop(img: np.ndarray, box: Box, size: tuple[int, int], interpolation: str = 'bicubic',
                 antialias: bool = True) -> np.ndarray:
    """Return the ``box`` (top, left, height, width) of ``img`` resized to ``size``."""
    top, left, height, width = box
    return resize(img[top:top + height, left:left + width], size, interpolation, antialias)


@TRANSFORMS.register_module()
class RandomHorizontalFlip(ImageTransform):
    """Mirror left and right with probability ``prob``."""

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = check_probability(prob, 'RandomHorizontalFlip.prob')

    def apply(self, img: np.ndarray) -> np.ndarray:
        if random.random() >= self.prob:
            return img
        height, width = img.shape[:2]
        if height * width <= 64 * 64:                        # OpenCV takes 14 us to begin
            return img.take(np.arange(width - 1, -1, -1), axis=1)
        return cv2.flip(img, 1).reshape(img.shape)
