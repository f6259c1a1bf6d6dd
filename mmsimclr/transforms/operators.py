"""The augmentations that SimCLR's policy leaves out: rotation, cutout, noise and Sobel's filter.

Their parameters are a function of uniform numbers. :mod:`mmsimclr.transforms.batch` takes them from the same
function, so that an image and a batch have the same distribution.

Source:
    Chen et al. 2020, figure 4. It names the operations and gives no sizes or strengths but the angles. The
    defaults are said with each operation.
"""

import random
from collections.abc import Sequence

import cv2
import numpy as np
from numpy import ndarray

from mmsimclr.errors import InputError
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import ImageTransform, check_int, check_probability, check_range

ANGLES = (0, 90, 180, 270)


class Operator(ImageTransform):
    """A step with ``num_draws`` uniform numbers for each image."""

    num_draws = 1

    def apply(self, img: ndarray) -> ndarray:
        draws = np.array([[random.random() for _ in range(self.num_draws)]])
        return self.change(img, self.parameters(draws, *img.shape[:2])[0])

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the parameters of N images of this size, [N, ...], from draws [N, num_draws] in [0, 1)."""
        raise NotImplementedError

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        """Return an image, uint8 [H, W, C], changed; itself where the parameter says so."""
        raise NotImplementedError


@TRANSFORMS.register_module()
class Rotate90(Operator):
    """Turn the image counter-clockwise by one of ``angles``, each as likely.

    Args:
        angles: In degrees, of 0, 90, 180 and 270. Chen et al. 2020 name 90, 180 and 270 in figure 4, and all
            four in table 3.
    """

    def __init__(self, angles: Sequence[int] = ANGLES) -> None:
        if not isinstance(angles, Sequence) or not angles or any(angle not in ANGLES for angle in angles):
            raise InputError(f'Rotate90.angles must be a list of some of {ANGLES}, got {angles!r}')
        self.angles = tuple(angles)

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the number of quarter turns of each image, int64 [N]."""
        return np.array(self.angles)[(draws[:, 0] * len(self.angles)).astype(np.int64)] // 90

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        return np.ascontiguousarray(np.rot90(img, int(parameter)))


@TRANSFORMS.register_module()
class Cutout(Operator):
    """Erase a rectangle around a random pixel; what would lie outside of the image is cut off.

    Args:
        sides: Range of its height and width, as fractions of the image's shorter side, within ]0, 1].
        square: Whether height and width are the same number; otherwise each is drawn for itself.
        fill: Grey level of the rectangle, 0 to 255.
        prob: Probability that the image is changed.

    Source:
        DeVries and Taylor 2017, Improved Regularization of Convolutional Neural Networks with Cutout,
        sections 3.2 and 4.1.
    """

    num_draws = 5

    def __init__(self, sides: Sequence[float] = (0.5, 0.5), square: bool = True, fill: int = 128,
                 prob: float = 1.0) -> None:
        self.sides = check_range(sides, 'Cutout.sides', high=1, open_low=True)
        self.square, self.fill = square, check_int(fill, 'Cutout.fill', 0, 255)
        self.prob = check_probability(prob, 'Cutout.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the top, bottom, left and right edge of what is erased, int64 [N, 4]; zeros for nothing."""
        chosen, tall, wide, down, across = draws.T
        spans = []
        for length, place, draw in ((height, down, tall), (width, across, tall if self.square else wide)):
            low, high = (fraction * min(height, width) for fraction in self.sides)
            span = np.maximum(1, np.round(low + (high - low) * draw))
            start = np.floor(place * length) - span // 2
            spans += [start.clip(0), (start + span).clip(max=length)]
        return (np.stack(spans, axis=1) * (chosen < self.prob)[:, None]).astype(np.int64)

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        top, bottom, left, right = parameter
        if top == bottom:
            return img
        img = img.copy()
        img[top:bottom, left:right] = self.fill
        return img


@TRANSFORMS.register_module()
class GaussianNoise(Operator):
    """Add normal noise, drawn for each value of each pixel, with a deviation drawn for each image.

    Args:
        std: Range of the deviation, as a fraction of the full range of 255 levels, >= 0. The default spans
            the five strengths of ImageNet-C.
        prob: Probability that the image is changed.

    Source:
        Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness (the strengths, in their code).
    """

    num_draws = 2

    def __init__(self, std: Sequence[float] = (0.08, 0.38), prob: float = 1.0) -> None:
        self.std = check_range(std, 'GaussianNoise.std')
        self.prob = check_probability(prob, 'GaussianNoise.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return the deviation in grey levels, float64 [N]; 0 for no noise."""
        low, high = self.std
        return np.where(draws[:, 0] < self.prob, 255 * (low + (high - low) * draws[:, 1]), 0)

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        if not parameter:
            return img
        generator = np.random.default_rng(random.getrandbits(64))
        noise = generator.standard_normal(img.shape, np.float32)
        noise *= np.float32(parameter)
        return np.rint(noise + img).clip(0, 255).astype(np.uint8)


@TRANSFORMS.register_module()
class Sobel(Operator):
    """Replace each channel by the magnitude of its gradient, by Sobel's filter, mirrored at the border.

    It is divided by 4, the weight of one side of the filter, so that an upright edge from black to white has
    255; slanting ones, which can have more, are clipped.
    """

    def __init__(self, prob: float = 1.0) -> None:
        self.prob = check_probability(prob, 'Sobel.prob')

    def parameters(self, draws: ndarray, height: int, width: int) -> ndarray:
        """Return whether each image is filtered, bool [N]."""
        return draws[:, 0] < self.prob

    def change(self, img: ndarray, parameter: ndarray) -> ndarray:
        if not parameter:
            return img
        across, down = (cv2.Sobel(img, cv2.CV_16S, *orders, ksize=3, borderType=cv2.BORDER_REFLECT_101)
                        for orders in ((1, 0), (0, 1)))
        # Exact up to the root. OpenCV's magnitude depends in its last digit on where its input lies.
        squares = np.square(across, dtype=np.float32) + np.square(down, dtype=np.float32)
        return np.rint(np.sqrt(squares) / 4).clip(max=255).astype(np.uint8).reshape(img.shape)
