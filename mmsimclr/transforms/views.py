"""Random views of one image."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmsimclr.errors import InputError, InputTypeError, check_int
from mmsimclr.registry import TRANSFORMS
from mmsimclr.splitmix64 import MASK, next_bits
from mmsimclr.transforms.base import Transform
from mmsimclr.transforms.format import image_to_tensor
from mmsimclr.transforms.load import LoadImage
from mmsimclr.transforms.policy import SimCLRView

Step = dict | Callable[[dict], dict]


@TRANSFORMS.register_module()
class MultiView(Transform):
    """Replace ``img`` by a list of views, each from the same untouched image, in the order of the pipelines.

    The arguments are those of MMPretrain's ``MultiView``.

    If ``results['sample_idx']`` has the attributes ``epoch`` and ``seed``, as our samplers' have, ``random``
    and ``numpy.random`` are first seeded from the three, so that views are the same for any number of
    workers and ranks, and after a resume. An ``img`` that is not decoded yet has a method
    ``decode_for(first_steps)``, which returns the pixels and additional results for each view.

    Args:
        transforms: One pipeline (a list of transforms or of their configs) for all views, or a list
            of pipelines, one per view or per group of views (asymmetric views).
        num_views: Number of views. With several pipelines: a list with the number of views of each,
            or their number (one view each).
        shared: Steps before the pipelines, such as a crop, drawn and applied once for each image (Chen et al.
            2020, section 3.1). They are seeded for themselves: views draw what they would without them.
    """

    def __init__(self, transforms: Sequence[Step] | Sequence[Sequence[Step]],
                 num_views: int | Sequence[int] = 2, shared: Sequence[Step] = ()) -> None:
        pipelines = _as_pipelines(transforms)
        self.num_views = _check_num_views(num_views, len(pipelines))
        self.pipelines = [[_build(step) for step in pipeline] for pipeline in pipelines]
        if isinstance(shared, str | dict) or not isinstance(shared, Sequence):
            raise InputTypeError(f'MultiView.shared must be a list of transforms, got {shared!r}')
        self.shared = [_build(step) for step in shared]

    def transform(self, results: dict) -> dict:
        if 'img' not in results:
            raise InputError('MultiView needs results["img"]; put LoadImage before it')
        index = results.get('sample_idx')
        if self.shared:
            _seed(index, _SHARED)
            results, = _run([self.shared], results)
        _seed(index)
        pipelines = [pipeline for pipeline, count in zip(self.pipelines, self.num_views, strict=True)
                     for _ in range(count)]
        results['img'] = [view['img'] for view in _run(pipelines, results)]
        return results


class simclr_views(Transform):
    """SimCLR's random views of an image, for a training loop of your own; called as torchvision's transforms.

    It takes a PIL image, a tensor [3, H, W] (uint8, or float in [0, 1]), an array uint8 [H, W, 3], or an item
    of :class:`~mmsimclr.datasets.UnlabeledImageFolder`, and returns a list of float tensors [3, size, size]
    in [0, 1]. Random numbers come from Python's ``random``, which torch seeds in each loader process; there
    call ``cv2.setNumThreads(0)``, since OpenCV's own threads do not pay at this size.

    Args:
        size: Side of the views, in pixels.
        num_views: Number of views.
        **policy: Further arguments of :class:`SimCLRView`, such as ``strength`` and ``blur``.

    Example:
        >>> from PIL import Image
        >>> from mmsimclr import simclr_views
        >>> views = simclr_views(96)(Image.new('RGB', (200, 100)))
        >>> [tuple(view.shape) for view in views]
        [(3, 96, 96), (3, 96, 96)]
    """

    def __init__(self, size: int, num_views: int = 2, **policy: Any) -> None:
        self._views = MultiView([SimCLRView(size, **policy)], num_views)

    def transform(self, results: Any) -> list[Tensor]:
        if not isinstance(results, dict):
            results = {'img': _as_array(results)}
        elif 'img' not in results:
            results = LoadImage().transform(dict(results))
        return [image_to_tensor(view).float() / 255 for view in self._views.transform(results)['img']]


def _as_array(image: Any) -> np.ndarray:
    if isinstance(image, Tensor):
        image = image if image.dtype == torch.uint8 else (image.clamp(0, 1) * 255).round().to(torch.uint8)
        return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    return np.array(image.convert('RGB')) if hasattr(image, 'convert') else image


def _seed(index: Any, *place: int) -> None:
    """Seed the generators for an index that knows run and epoch, and leave them alone otherwise."""
    if hasattr(index, 'epoch') and hasattr(index, 'seed'):
        seed = sample_seed(index.seed, index.epoch, int(index), *place)
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)


def _run(pipelines: Sequence[Sequence[Step]], results: dict) -> list[dict]:
    """Return what each pipeline makes of the same results."""
    starts = [{}] * len(pipelines)
    if hasattr(results['img'], 'decode_for'):
        first_steps = [pipeline[0] if pipeline else None for pipeline in pipelines]
        img, starts = results['img'].decode_for(first_steps)
        results = {**results, 'img': img}
    made = []
    for pipeline, start in zip(pipelines, starts, strict=True):
        view = {**results, **start}                             # shallow: the image is shared, never copied
        for step in pipeline:
            view = step(view)
        made.append(view)
    return made


@TRANSFORMS.register_module()
class RandomView(MultiView):
    """Run random transforms on ``img``, seeded by run, epoch and image as :class:`MultiView` does.

    Args:
        transforms: One pipeline: a list of transforms or of their configs.
    """

    def __init__(self, transforms: Sequence[Step]) -> None:
        super().__init__(transforms, num_views=1)

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        results['img'], = results['img']
        return results


_SHARED = 1                                                     # place of the shared steps in the seeding


def sample_seed(seed: int, epoch: int, index: int, *place: int) -> int:
    """Return a 64-bit seed that is well spread over all arguments.

    ``place`` tells apart what is drawn for one image by itself; the views have none.

    Source:
        SplitMix64 (Steele, Lea and Flood 2014), once per argument.
    """
    state = 0
    for value in (seed, epoch, index, *place):
        state = next_bits(state ^ (value & MASK))
    return state


def _as_pipelines(transforms: Any) -> list[list]:
    if isinstance(transforms, str | dict) or not isinstance(transforms, Sequence):
        raise InputTypeError('MultiView.transforms must be a list of transforms, or a list of such '
                             f'lists, got {type(transforms).__name__}')
    nested = [isinstance(item, Sequence) and not isinstance(item, str) for item in transforms]
    if any(nested) and not all(nested):
        raise InputTypeError('MultiView.transforms mixes transforms and lists of transforms; give one '
                             'pipeline (a flat list) or a list of pipelines')
    return [list(pipeline) for pipeline in transforms] if any(nested) else [list(transforms)]


def _check_num_views(num_views: Any, num_pipelines: int) -> list[int]:
    """Return the number of views of each of the pipelines."""
    if isinstance(num_views, Sequence):
        counts = [check_int(count, 'MultiView.num_views') for count in num_views]
    else:
        counts = [check_int(num_views, 'MultiView.num_views')]
        counts = counts if num_pipelines == 1 else [1] * counts[0]
    if len(counts) != num_pipelines:
        raise InputError(f'MultiView.num_views={num_views} does not fit {num_pipelines} pipelines; give a '
                         f'list of {num_pipelines} integers, or {num_pipelines} for one view each')
    return counts


def _build(step: Any) -> Callable[[dict], dict]:
    if isinstance(step, dict):
        return TRANSFORMS.build(step)
    if callable(step) and not isinstance(step, type):
        return step
    raise InputTypeError('MultiView.transforms holds transforms (callables) or their configs '
                         f'(dictionaries with a type), got {step!r}')
