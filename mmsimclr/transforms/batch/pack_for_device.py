"""One image as it is, for views that are made on the device."""

from __future__ import annotations

import random

import numpy as np
import torch

from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import Transform, check_image, check_positive_int
from mmsimclr.transforms.resize import resize


@TRANSFORMS.register_module()
class PackForDevice(Transform):
    """Pack the whole image, on a canvas that all images share, for :class:`DeviceViews`.

    The result is ``dict(inputs=uint8 tensor [canvas_px, canvas_px, 3], data_samples={…})``: the image in
    the upper left corner, its ``image_size`` (height, width), and ``seed``, ``epoch`` and ``sample_idx``,
    of which the views are a function. An image whose longer side exceeds the canvas is first reduced to it.

    An index without seed and epoch, from another sampler than ours, gets a seed drawn from ``random``.

    Args:
        canvas_px: Side of the canvas. 512 holds a typical image of ImageNet, 500 x 375, in full.
    """

    def __init__(self, canvas_px: int = 512) -> None:
        self.canvas_px = check_positive_int(canvas_px, 'PackForDevice.canvas_px')

    def transform(self, results: dict) -> dict:
        """Return a new dictionary with ``inputs`` and ``data_samples``."""
        img = check_image(results['img'], 'PackForDevice')
        longer = max(img.shape[:2])
        if longer > self.canvas_px:
            height, width = (max(1, round(side * self.canvas_px / longer)) for side in img.shape[:2])
            img = resize(img, (height, width))
        height, width = img.shape[:2]
        canvas = np.zeros((self.canvas_px, self.canvas_px, 3), np.uint8)
        canvas[:height, :width] = img
        index = results.get('sample_idx', 0)
        samples = {'sample_idx': int(index), 'epoch': getattr(index, 'epoch', 0),
                   'seed': index.seed if hasattr(index, 'seed') else random.getrandbits(63),
                   'image_size': torch.tensor((height, width))}
        return {'inputs': torch.from_numpy(canvas), 'data_samples': samples}
