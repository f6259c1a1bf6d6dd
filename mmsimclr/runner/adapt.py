"""Adapting a config to its options: views on the device, unreadable images."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmsimclr.config.errors import ConfigError
from mmsimclr.datasets import InMemoryImages
from mmsimclr.models import SimCLR, ViewPreprocessor
from mmsimclr.registry import MODELS, TRANSFORMS
from mmsimclr.transforms import (
    DeviceViews,
    LoadImage,
    LoadImageForCrops,
    MultiView,
    PackForDevice,
    PackViews,
    SimCLRView,
)

# By name: the config is dumped as text.
REPLACING = 'mmsimclr.ReplaceUnreadable'


def allow_bad_images(config: Config) -> None:
    """Put :class:`~mmsimclr.datasets.ReplaceUnreadable` around the training set as ``bad_images`` says.

    Args:
        config: A config to train with. ``bad_images=dict(max_fraction=f)`` allows that part of the training
            images to be unreadable; with 0, or without it, the first one ends the run. The key is taken out.
    """
    allowed = (config.pop('bad_images', None) or {}).get('max_fraction', 0)
    if not allowed:
        return
    loader = config.train_dataloader
    loader.dataset = dict(type=REPLACING, dataset=loader.dataset, max_fraction=allowed)
    config.custom_hooks = [*(config.get('custom_hooks') or ()), dict(type='mmsimclr.UnreadableImagesHook')]


def place_views(config: Config) -> None:
    """Have the views made where the config's ``views`` says, and take that key out.

    With 'device', the loader ships whole images and the model's preprocessor makes the views, by the same
    policy. Images that need no reading (those of CIFAR10 and Shapes) are put on the device as a whole, and
    the loader needs no processes.

    Args:
        config: A config to train with, whose pipeline ends in ``MultiView`` of one ``SimCLRView`` and
            ``PackViews``; changed in place.

    Raises:
        ConfigError: If the views are others than the device can make, or images in memory may be bad.
    """
    if config.pop('views', 'loader') != 'device':
        return
    loader, owner = config.train_dataloader, config.train_dataloader.dataset
    while not owner.get('pipeline') and isinstance(owner.get('dataset'), Mapping):
        owner = owner.dataset
    reading, num_views, policy = _split(owner.get('pipeline') or [])
    preprocessor = config.model.get('data_preprocessor') or dict(type=ViewPreprocessor)
    config.model.data_preprocessor = {**preprocessor,
                                      'views': dict(type=DeviceViews, num_views=num_views, **policy)}
    if reading:
        owner.pipeline = [*reading, dict(type=PackForDevice)]
        loader.collate_fn = dict(type='default_collate')      # by name: the config is dumped as text
        source = 'of the images that the loader reads'
    elif loader.dataset.get('type') == REPLACING:
        raise ConfigError("bad_images is about files, and this dataset has its images in memory with "
                          "views='device': take bad_images out")
    else:
        loader.pop('prefetch_factor', None)
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False,
                      collate_fn=dict(type='mmsimclr.as_fetched'))
        loader.dataset = dict(type=InMemoryImages, dataset=loader.dataset)
        source = 'of images in its memory; the loader has no processes'
    print_log(f'views are made on the device, {source}', 'current', logging.INFO)


def _split(pipeline: list) -> tuple[list, int, dict]:
    """Return the steps before the views, the number of views, and the arguments of SimCLRView."""
    *reading, views, pack = pipeline if len(pipeline) >= 2 else (None, None)
    if _is(views, MultiView) and _is(pack, PackViews):
        steps, num_views = views.get('transforms') or [], views.get('num_views', 2)
        if len(steps) == 1 and isinstance(steps[0], list | tuple):
            steps = steps[0]
        if isinstance(num_views, list | tuple) and len(num_views) == 1:
            num_views = num_views[0]
        if len(steps) == 1 and _is(steps[0], SimCLRView) and isinstance(num_views, int):
            policy = {name: value for name, value in steps[0].items() if name != 'type'}
            # The device draws the boxes, so nothing is known of them when a file is decoded.
            reading = [dict(type=LoadImage) if _is(step, LoadImageForCrops) else step for step in reading]
            return reading, num_views, policy
    raise ConfigError("views='device' needs a pipeline that ends in MultiView of one SimCLRView (for all "
                      "views) and PackViews; make other views in the loader (views='loader')")


def _is(step: Any, kind: type) -> bool:
    """Whether a step of a pipeline is the config of a component, named by class or by string."""
    name = step.get('type') if isinstance(step, Mapping) else None
    return (TRANSFORMS.get(name) if isinstance(name, str) else name) is kind


def check_view_sizes(config: Mapping[str, Any]) -> None:
    """Refuse views of several sizes for SimCLR, which takes all of them through the encoder together.

    Raises:
        ConfigError: If the pipelines of a ``MultiView`` say different sizes.
    """
    kind = config['model'].get('type')
    if (MODELS.get(kind) if isinstance(kind, str) else kind) is not SimCLR:
        return
    dataset = config['train_dataloader'].get('dataset')
    while isinstance(dataset, Mapping) and isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    for step in (dataset or {}).get('pipeline') or ():
        pipelines = step.get('transforms') if isinstance(step, Mapping) else None
        if pipelines and all(isinstance(pipeline, list | tuple) for pipeline in pipelines):
            sizes = {str(_size(pipeline)): None for pipeline in pipelines if _size(pipeline) is not None}
            if len(sizes) > 1:
                raise ConfigError(f'all views of an image must have one size, and those of '
                                  f'train_dataloader.dataset.pipeline are {" and ".join(sizes)}: give their '
                                  'last crops one size')


def _size(pipeline: Any) -> Any:
    """Return the size that the last step to name one makes."""
    return next((step['size'] for step in reversed(pipeline)
                 if isinstance(step, Mapping) and step.get('size') is not None), None)
