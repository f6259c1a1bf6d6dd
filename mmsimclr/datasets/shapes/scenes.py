"""Content of the Shapes images: class, place, size, rotation and colours, drawn from a seed.

Every quantity is a hash of (seed, split, image index, object, quantity), not the next number of a generator.
Image i is therefore the same whatever was drawn before it and however many images there are, whole batches
are drawn at once, and two quantities are never correlated.
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from mmsimclr.datasets.shapes.geometry import CLASSES
from mmsimclr.splitmix64 import next_bits

# The number of each split in the hash.
SPLITS = {'train': 1, 'val': 2, 'test': 3}

# Eight muted hues, each as a light, a medium and a dark colour, for backgrounds, objects and the ink of their
# patterns. SimCLR keeps whatever singles an image out in both of its views. Vivid colours do, even through
# colour jitter, and then the class is never learned. Muted ones, of one luma per role (0.82, 0.5, 0.2), are
# few, weak and gone in grey, so that form remains.
BACKGROUND_COLORS = np.array(
    [[255, 184, 184], [241, 202, 163], [223, 213, 150], [182, 233, 157],
     [158, 235, 209], [166, 224, 244], [187, 208, 255], [255, 177, 245]], np.float32)
OBJECT_COLORS = np.array(
    [[180, 105, 105], [153, 122, 90], [139, 131, 80], [105, 147, 85],
     [86, 148, 128], [91, 140, 157], [108, 127, 183], [170, 99, 158]], np.float32)
INK_COLORS = np.array(
    [[71, 43, 43], [61, 49, 37], [55, 52, 33], [43, 58, 35],
     [35, 59, 51], [37, 56, 62], [43, 51, 72], [67, 40, 63]], np.float32)

# Light on a whole image: factors of its brightness, and of its contrast about a light grey.
BRIGHTNESS = (0.4, 1.0)
CONTRAST = (0.5, 1.0)
MAX_ROTATION_DEG = 30.0
# Circumscribed radius in image sides, smallest and largest.
SINGLE_RADIUS = (0.18, 0.46)
MULTI_RADIUS = (0.12, 0.28)


@dataclass
class Scenes:
    """The content of N images of at most K objects, the frontmost object first."""

    labels: ndarray                             # class of each object, int64 [N, K]
    exists: ndarray                             # whether there is that object, bool [N, K]; always the first
    center: ndarray                             # (x, y) in image sides, float32 [N, K, 2]
    radius: ndarray                             # circumscribed, in image sides, float32 [N, K]
    rotation_deg: ndarray                       # clockwise, float32 [N, K]
    object_color: ndarray                       # row of OBJECT_COLORS and of INK_COLORS, int64 [N, K]
    background_color: ndarray                   # row of BACKGROUND_COLORS, int64 [N]
    brightness: ndarray                         # factor of all colours, float32 [N]
    contrast: ndarray                           # factor of their distance from a light grey, float32 [N]


class _Draw:
    """Independent uniform numbers for a set of images, by the name of the quantity."""

    QUANTITIES = ('order', 'count', 'label', 'x', 'y', 'radius', 'rotation', 'object_color',
                  'background_color', 'brightness', 'contrast')

    def __init__(self, seed: int, split: str, indices: ndarray, num_objects: int) -> None:
        stream = next_bits(next_bits(np.array([seed], np.uint64)) ^ np.uint64(SPLITS[split]))
        self._images = next_bits(stream ^ indices.astype(np.uint64))
        objects = np.arange(1, num_objects + 1, dtype=np.uint64)
        self._objects = next_bits(self._images[:, None] ^ objects)

    def hash(self, quantity: str, per_object: bool) -> ndarray:
        """Return random bits, uint64 [N, K], or [N] if not per object."""
        base = self._objects if per_object else self._images
        return next_bits(base ^ np.uint64((self.QUANTITIES.index(quantity) + 1) << 32))

    def uniform(self, quantity: str, low: float, high: float, per_object: bool = True) -> ndarray:
        """Draw uniformly from [low, high) with 24 random bits, float32 [N, K], or [N] if not per object."""
        bits = self.hash(quantity, per_object) >> np.uint64(40)
        part = bits.astype(np.float32) * np.float32(2**-24)
        return np.float32(low) + (np.float32(high) - np.float32(low)) * part

    def integers(self, quantity: str, high: int, per_object: bool = True) -> ndarray:
        """Draw uniformly from 0 to high - 1, int64 [N, K], or [N] if not per object."""
        bits = self.hash(quantity, per_object) >> np.uint64(32)
        return ((bits * np.uint64(high)) >> np.uint64(32)).astype(np.int64)


def balanced_labels(indices: ndarray, seed: int, split: str) -> ndarray:
    """Return the classes of the images ``indices``, int64 [N] both; 10b to 10b+9 have each of the ten once.

    The order within a block of ten is random and depends on the block only.
    """
    num_classes = len(CLASSES)
    blocks = indices // num_classes
    members = blocks[:, None] * num_classes + np.arange(num_classes)
    keys = _Draw(seed, split, members.reshape(-1), 1).hash('order', False)
    order = np.argsort(keys.reshape(members.shape), axis=1, kind='stable')
    return order[np.arange(len(indices)), indices % num_classes]


def draw_scenes(indices: ndarray, seed: int, split: str, objects: str, max_objects: int) -> Scenes:
    """Draw the content of the images ``indices``, int64 [N], of a ``Shapes`` dataset with these arguments.

    K is 1 for ``'single'`` and ``max_objects`` for ``'multi'``, of which 1 to K are equally likely. The
    frontmost object of each image has the image's balanced label.
    """
    num_objects = 1 if objects == 'single' else max_objects
    draw = _Draw(seed, split, indices, num_objects)
    labels = draw.integers('label', len(CLASSES))
    labels[:, 0] = balanced_labels(indices, seed, split)
    count = draw.integers('count', num_objects, per_object=False) + 1
    radius = draw.uniform('radius', *(SINGLE_RADIUS if objects == 'single' else MULTI_RADIUS))
    place = np.stack([draw.uniform('x', 0, 1), draw.uniform('y', 0, 1)], axis=-1)
    return Scenes(
        labels=labels,
        exists=np.arange(num_objects) < count[:, None],
        # The circumscribed circle stays inside the image, for any class and rotation.
        center=radius[..., None] + (np.float32(1) - np.float32(2) * radius[..., None]) * place,
        radius=radius,
        rotation_deg=draw.uniform('rotation', -MAX_ROTATION_DEG, MAX_ROTATION_DEG),
        object_color=draw.integers('object_color', len(OBJECT_COLORS)),
        background_color=draw.integers('background_color', len(BACKGROUND_COLORS), False),
        brightness=draw.uniform('brightness', *BRIGHTNESS, per_object=False),
        contrast=draw.uniform('contrast', *CONTRAST, per_object=False),
    )
