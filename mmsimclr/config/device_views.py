"""The switch ``views='device'``: the views of a config's loader, made on the device instead."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmsimclr.config.bad_images import REPLACING
from mmsimclr.config.errors import ConfigError
from mmsimclr.datasets import InMemoryImages
from mmsimclr.models import ViewPreprocessor
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms import (
    DeviceViews,
    LoadImage,
    LoadImageForCrops,
    MultiView,
    PackForDevice,
    PackViews,
    SimCLRView,
)


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
