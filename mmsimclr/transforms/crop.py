"""The random crop and the random flip."""

import math
import random
from collections.abc import Sequence

import cv2
import numpy as np

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import (
    ImageTransform,
    Transform,
    check_image,
    check_probability,
    check_range,
    check_size,
)
from mmsimclr.transforms.resize import check_interpolation, resize

Box = tuple[int, int, int, int]                                # top, left, height, width, in pixels
CROP_ATTEMPTS = 10


@TRANSFORMS.register_module()
class RandomResizedCrop(Transform):
    """Crop a random box and resize it to ``size``.

    The box has the distribution of torchvision's ``RandomResizedCrop``: area uniform in ``scale``
    (as a fraction of the image), aspect log-uniform in ``ratio``, position uniform; after ten boxes
    that do not fit, the largest central box within ``ratio``.

    Args:
        size: Side or (height, width) of the result, in pixels.
        scale: Range of the box's area as a fraction of the image's, within ]0, 1].
        ratio: Range of the box's width / height.
        interpolation: 'bicubic' (the paper), 'bilinear' (OpenMMLab's recipe), 'nearest', 'area'.
        antialias: Whether the filter widens when shrinking (see :func:`resize`); not in the official code.

    Source:
        Szegedy et al. 2015, section 6; Chen et al. 2020, appendix A.
    """

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.08, 1.0),
                 ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: str = 'bicubic',
                 antialias: bool = True) -> None:
        self.size = check_size(size, 'RandomResizedCrop.size')
        self.scale = check_range(scale, 'RandomResizedCrop.scale', high=1, open_low=True)
        self.ratio = check_range(ratio, 'RandomResizedCrop.ratio', open_low=True)
        self.interpolation = check_interpolation(interpolation, 'RandomResizedCrop')
        self.antialias = antialias
        self._log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])

    def draw_box(self, height: int, width: int) -> Box:
        """Draw a box inside an image of this size."""
        for _ in range(CROP_ATTEMPTS):
            area = height * width * random.uniform(*self.scale)
            aspect = math.exp(random.uniform(*self._log_ratio))
            crop_width = round(math.sqrt(area * aspect))
            crop_height = round(math.sqrt(area / aspect))
            if 0 < crop_width <= width and 0 < crop_height <= height:
                # A third of the time of randint; 2**-53 is no bias here.
                top = int(random.random() * (height - crop_height + 1))
                left = int(random.random() * (width - crop_width + 1))
                return top, left, crop_height, crop_width
        return self.central_box(height, width)

    def central_box(self, height: int, width: int) -> Box:
        """Return the largest central box within ``ratio``."""
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
        return cv2.flip(img, 1) if random.random() < self.prob else img
