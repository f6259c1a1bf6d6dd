"""Packing of images into the tensors and data samples that the model is given."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mmsimclr.errors import InputTypeError
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms.base import Transform, check_image

# Bytes from which on OpenCV splits channels faster than numpy copies them: ten times at 224 pixels.
_SMALL = 64 * 64 * 3


class _Pack(Transform):
    """Packing with the entries of ``results`` named by ``keys``, where present, as ``data_samples``."""

    KEYS: tuple[str, ...] = ('sample_idx', 'gt_label')

    def __init__(self, keys: Sequence[str] | None = None) -> None:
        keys = self.KEYS if keys is None else keys
        if isinstance(keys, str):
            raise InputTypeError(f'{type(self).__name__}.keys must be a sequence of names, got the '
                                 f'string {keys!r}; write ({keys!r},)')
        self.keys = tuple(keys)

    def _packed(self, results: dict, inputs: Tensor | list[Tensor]) -> dict[str, Any]:
        samples = {key: _plain(results[key]) for key in self.keys if key in results}
        return {'inputs': inputs, 'data_samples': samples}


@TRANSFORMS.register_module()
class PackViews(_Pack):
    """Pack the views that :class:`MultiView` made: ``dict(inputs=[view_1, view_2, …], data_samples={…})``.

    Each view is a contiguous tensor, uint8 [3, H, W] or float32 [C, H, W]. Torch's default collation stacks
    each over the batch.

    Args:
        keys: Entries of ``results`` to carry in ``data_samples`` when present; none by default, since the
            contrastive loss reads none.
    """

    KEYS = ()

    def transform(self, results: dict) -> dict:
        views = results['img']
        if not isinstance(views, list | tuple):
            raise InputTypeError('PackViews needs a list of views in results["img"], got '
                                 f'{type(views).__name__}; put MultiView before it, or use PackImage '
                                 'for a single image')
        return self._packed(results, [image_to_tensor(view) for view in views])


@TRANSFORMS.register_module()
class PackImage(_Pack):
    """Pack one image, as :class:`PackViews`: ``dict(inputs=tensor [C, H, W], data_samples={…})``.

    ``keys`` are ``sample_idx`` and ``gt_label`` by default.
    """

    def transform(self, results: dict) -> dict:
        if isinstance(results['img'], list | tuple):
            raise InputTypeError(f'PackImage needs one image in results["img"], got a list of '
                                 f'{len(results["img"])}; use PackViews')
        return self._packed(results, image_to_tensor(results['img']))


def image_to_tensor(img: np.ndarray) -> Tensor:
    """Return uint8 [H, W, 3] or float32 [H, W, C] as a new contiguous tensor [C, H, W]."""
    check_image(img, 'image_to_tensor')
    if img.size < _SMALL or img.dtype != np.uint8:
        return torch.from_numpy(img.transpose(2, 0, 1).copy())
    planes = np.empty((3, *img.shape[:2]), np.uint8)
    cv2.split(img, (planes[0], planes[1], planes[2]))
    return torch.from_numpy(planes)


def _plain(value: Any) -> Any:
    """Strip subclasses of int (samplers tag indices) and turn arrays into tensors."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, list):                                 # a label for each class
        return torch.tensor(value)
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
