"""Thumbnails of images: small squares for pages, and smaller ones to compare pixels by."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy import ndarray

from mmsimclr.errors import MachineError
from mmsimclr.features.extraction import FeatureFiles
from mmsimclr.files import is_raster, raster_of
from mmsimclr.transforms import as_rgb, read_raster, shown_limits
from mmsimclr.transforms.load import EncodedImage, LoadImageForCrops, read_bytes

#: What 10,000 thumbnails of 64 pixels a side have; more images get smaller ones.
MAX_PIXELS = 10_000 * 64 ** 2
#: Side of thumbnails that near-duplicates are told by.
COMPARED_PX = 16


def make_thumbnails(features: FeatureFiles, dataset: Any,
                    progress: Callable[[int, int], None] | None = None) -> ndarray:
    """Return the centre square of each image that has features, uint8 [N, side, side, 3].

    The side is a multiple of 8, at most 128 pixels or what the largest image has.
    """
    kept = None if not features.manifest['images']['num_unreadable'] else set(features.paths.tolist())
    numbers = [i for i in range(len(dataset)) if kept is None or dataset.get_data_info(i)['img_path'] in kept]
    side = int(np.clip(np.sqrt(MAX_PIXELS / len(numbers)) // 8 * 8, 24, 128))
    thumbnails, largest = np.empty((len(numbers), side, side, 3), np.uint8), 0
    for place, number in enumerate(numbers):
        thumbnails[place], size = thumbnail(dataset.get_data_info(number), side)
        largest = max(largest, size)
        if progress is not None and (place % 64 == 0 or place == len(numbers) - 1):
            progress(place + 1, len(numbers))
    if (smaller := -(-largest // 8) * 8) < side:            # nothing is gained by enlarging all of them
        return resized(thumbnails, smaller)
    return thumbnails


def thumbnail(item: Mapping[str, Any], side: int) -> tuple[ndarray, int]:
    """Return the centre square of an image, uint8 [side, side, 3], and the length of its own side.

    ``item`` has ``img_path`` or ``img``, as :class:`~mmsimclr.transforms.LoadImage` takes them.
    """
    image = _shown(item)
    square = min(image.shape[:2])
    if isinstance(image, EncodedImage):
        image = image.decode(max(r for r in (1, 2, 4, 8) if r == 1 or square >= 2 * r * side))
    size = min(image.shape[:2])
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    cut = image[top:top + size, left:left + size]
    return cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
                      ), square


def _shown(item: Mapping[str, Any]) -> ndarray | EncodedImage:
    """Return an image as LoadImageForCrops does; one of other channels or more bits in full contrast."""
    image, name = item.get('img'), item.get('img_path', '<bytes>')
    image = read_bytes(name) if image is None else image
    if isinstance(image, bytes) and is_raster(image):
        with suppress(MachineError):                        # without tifffile, Pillow may yet read it
            image = read_raster(name, data=image).values
    if isinstance(image, ndarray) and (image.dtype != np.uint8 or image.shape[2:] != (3,)):
        image = raster_of(image).values
        image = as_rgb(image, limits=shown_limits(image))
    return LoadImageForCrops().transform({**item, 'img': image})['img']


def resized(thumbnails: ndarray, side: int) -> ndarray:
    """Return thumbnails, uint8 [N, h, w, 3], with another side, averaged."""
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in thumbnails])
