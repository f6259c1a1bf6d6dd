"""Random parameters of the views of a whole batch, drawn on the CPU."""

import itertools
from dataclasses import dataclass, fields

import numpy as np
from numpy import ndarray

from mmsimclr.splitmix64 import next_bits, uniforms
from mmsimclr.transforms.crop import CROP_ATTEMPTS, RandomResizedCrop, official_boxes
from mmsimclr.transforms.policy import ViewPolicy

#: The operations of colour jitter; their numbers are places in this tuple.
JITTER = ('brightness', 'contrast', 'saturation', 'hue')
_NEUTRAL = np.array([1.0, 1.0, 1.0, 0.0])
_ORDERS = np.array(list(itertools.permutations(range(len(JITTER)))))
_OTHER_DRAWS = 10                                 # random numbers for a view, besides four for each attempt


def sample_seeds(seed: ndarray, epoch: ndarray, index: ndarray) -> ndarray:
    """Return :func:`mmsimclr.transforms.sample_seed` of N samples: from int64 [N] each to uint64 [N]."""
    state = np.zeros(len(index), np.uint64)
    for value in (seed, epoch, index):
        state = next_bits(state ^ np.asarray(value, np.int64).view(np.uint64))
    return state


@dataclass(frozen=True)
class ViewParameters:
    """The parameters of M views."""

    boxes: ndarray                              # crop (top, left, height, width) in pixels, int64 [M, 4]
    flipped: ndarray                            # bool [M]
    order: ndarray                              # operations of JITTER as they are applied, int64 [M, 4]
    factors: ndarray                            # in the order of JITTER, float64 [M, 4]; (1, 1, 1, 0) is none
    grey: ndarray                               # whether without colour, bool [M]
    sigma_px: ndarray                           # deviation of the blur, float64 [M]; 0 for none

    def __getitem__(self, rows: slice | ndarray) -> 'ViewParameters':
        """Return the parameters of some of the views."""
        return ViewParameters(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_parameters(policy: ViewPolicy, seeds: ndarray, sizes: ndarray, num_views: int = 2) -> ViewParameters:
    """Draw the parameters of ``num_views`` views of each image, with the distributions of ``policy``.

    Nothing but the images' seeds, uint64 [N], decides what is drawn. ``sizes`` are (height, width) in
    pixels, int64 [N, 2]. The parameters of one image's views lie next to each other.
    """
    crop, flip, jitter, grey, *blur = policy.steps
    of_crop = 4 * CROP_ATTEMPTS[crop.style]
    drawn = uniforms(seeds, num_views * (of_crop + _OTHER_DRAWS)).reshape(-1, of_crop + _OTHER_DRAWS)
    boxes = _boxes(crop, drawn[:, :of_crop], np.repeat(np.asarray(sizes, np.float64), num_views, axis=0))
    draw = iter(drawn[:, of_crop:].T)
    flipped = next(draw) < flip.prob
    jittered = next(draw) < jitter.prob
    order = _ORDERS[(next(draw) * len(_ORDERS)).astype(np.int64)]
    factors = np.stack([_between(getattr(jitter, name), next(draw)) for name in JITTER], axis=1)
    factors = np.where(jittered[:, None], factors, _NEUTRAL)
    is_grey = next(draw) < grey.prob
    blurred, place = next(draw), next(draw)
    sigma_px = np.zeros(len(drawn))
    for step in blur:
        sigma_px = np.where(blurred < step.prob, _between(step.sigma, place), 0.0)
    return ViewParameters(boxes, flipped, order, factors, is_grey, sigma_px)


def _boxes(crop: RandomResizedCrop, draws: ndarray, sizes: ndarray) -> ndarray:
    """Return the first box of each row's attempts that fits, or else the last one's: int64 [M, 4]."""
    draws = draws.reshape(len(draws), 4, -1)
    if crop.style == 'official':
        boxes, fits = official_boxes(crop, sizes[:, None], draws.transpose(0, 2, 1))
    else:
        boxes, fits = _torchvision_boxes(crop, sizes, draws)
    boxes = boxes[np.arange(len(boxes)), fits.argmax(axis=1)]
    for row in np.flatnonzero(~fits.any(axis=1)):
        boxes[row] = crop.last_box(*sizes[row].astype(np.int64).tolist())
    return boxes


def _torchvision_boxes(crop: RandomResizedCrop, sizes: ndarray, draws: ndarray) -> tuple[ndarray, ndarray]:
    """Return each row's attempts, int64 [M, A, 4], and whether they fit, [M, A], of draws [M, 4, A]."""
    area, aspect, down, right = draws.transpose(1, 0, 2)
    height, width = sizes[:, :1], sizes[:, 1:]
    area = height * width * _between(crop.scale, area)
    aspect = np.exp(_between(np.log(crop.ratio), aspect))
    crop_width, crop_height = np.round(np.sqrt(area * aspect)), np.round(np.sqrt(area / aspect))
    fits = (crop_width > 0) & (crop_width <= width) & (crop_height > 0) & (crop_height <= height)
    top = np.floor(down * (height - crop_height + 1))
    left = np.floor(right * (width - crop_width + 1))
    return np.stack([top, left, crop_height, crop_width], axis=2).astype(np.int64), fits


def _between(bounds: tuple[float, float], draw: ndarray) -> ndarray:
    return bounds[0] + (bounds[1] - bounds[0]) * draw
