"""Images to extract features from, and how they are prepared for the encoder."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmsimclr.config import ConfigError, load_config
from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.datasets.replace_unreadable import SHORTAGES
from mmsimclr.encoders import image_side
from mmsimclr.errors import InputError
from mmsimclr.registry import DATASETS
from mmsimclr.transforms import (
    CenterCrop,
    ImageReadError,
    LoadChannels,
    LoadImage,
    PackImage,
    Resize,
    ResizeShortSide,
)


@dataclass(frozen=True)
class Preparation:
    """Read as RGB, or by ``reading`` (arguments of LoadChannels); resize the short side, cut the centre out.

    Attributes:
        resize_px: Length of the short side after resizing.
        crop_px: Side of the resulting square, at most ``resize_px``; or [height, width], with ``squash``: the
            whole image is then resized once, to this, and ``resize_px`` is None.
        interpolation: As in :func:`mmsimclr.transforms.resize`, with antialiasing.
        squash: Whether to squash the whole image into the square rather than to cut its centre out.
    """

    resize_px: int | None = 256
    crop_px: int | Sequence[int] = 224
    interpolation: str = 'bicubic'
    squash: bool = False
    reading: InitVar[Mapping[str, Any] | None] = None

    def __post_init__(self, reading: Mapping[str, Any] | None) -> None:
        steps = [Resize(self.crop_px, self.interpolation) if self.squash else CenterCrop(self.crop_px)]
        if not isinstance(self.crop_px, Sequence):
            steps.insert(0, ResizeShortSide(self.resize_px, self.interpolation))
            if self.crop_px > self.resize_px:
                raise InputError('crop_px must be at most resize_px, got '
                                 f'{self.crop_px} and {self.resize_px}')
        load = LoadImage() if reading is None else LoadChannels(**reading)
        object.__setattr__(self, '_transforms', (load, *steps, PackImage()))

    def __call__(self, image: dict) -> Tensor:
        """Return uint8 [3, H, W], or float32 [C, H, W], of an item with ``img_path`` or ``img``."""
        for transform in self._transforms:
            image = transform(image)
        return image['inputs']


def preparation_for(backbone: nn.Module, resize_px: int | None = None,
                    crop_px: int | Sequence[int] | None = None, interpolation: str = 'bicubic',
                    squash: bool = False, reading: Mapping[str, Any] | None = None) -> Preparation:
    """Return the preparation an encoder expects: a crop of the size of its views.

    Where its checkpoint does not say that size, it is the only one that the encoder takes, or else 224
    pixels, or 32 where its stem is CIFAR's, of stride 1. The short side is by default 8/7 of the crop, or as
    long as it with CIFAR's stem.
    """
    stride = getattr(getattr(backbone, 'conv1', None), 'stride', None)
    usual_resize_px, usual_crop_px = (32, 32) if stride in (1, (1, 1)) else (256, 224)
    if crop_px is None:
        crop_px = getattr(backbone, 'view_px', None) or image_side(backbone) or usual_crop_px
    if isinstance(crop_px, Sequence):
        return Preparation(None, [*crop_px], interpolation, squash=True, reading=reading)
    if resize_px is None:
        resize_px = round(crop_px * usual_resize_px / usual_crop_px)
    return Preparation(resize_px, crop_px, interpolation, squash, reading)


class ImageFolder:
    """Images below a folder, in the order of :class:`~mmsimclr.datasets.UnlabeledImageFolder`.

    Where every image lies in a folder directly below the root, ``root/class/image``, those folders are the
    classes, numbered in the order of their names; otherwise there are no labels.
    """

    def __init__(self, root: str | Path) -> None:
        self.data_root = str(root)
        self._images = UnlabeledImageFolder(self.data_root)
        folders = {self._folder(self._images.get_data_info(i)) for i in range(len(self._images))}
        are_classes = all(name and os.sep not in name for name in folders)
        classes = sorted(folders, key=os.fsencode) if are_classes else []
        self._labels = {name: label for label, name in enumerate(classes)}
        self.metainfo = {'classes': tuple(classes)} if classes else {}

    def __len__(self) -> int:
        return len(self._images)

    def get_data_info(self, index: int) -> dict:
        """Return ``img_path``, ``sample_idx`` and, with class folders, ``gt_label``."""
        info = self._images.get_data_info(index)
        return {**info, 'gt_label': self._labels[self._folder(info)]} if self._labels else info

    def _folder(self, info: dict) -> str:
        return os.path.dirname(info['img_path'].removeprefix(os.path.join(self.data_root, '')))


LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def named_images(source: str | Path, key: str | None = None,
                 options: Mapping[str, Any] | None = None) -> Any:
    """Return the images that a folder holds, or the dataset that a config describes.

    Args:
        source: A folder, or a config (``.py``), of whose dataset the pipeline is not used.
        key: Place of the dataset in the config, dotted, e.g. ``'custom_hooks.2.bank'``; by default of the
            first of ``LOADERS`` that the config has.
        options: Values of the config to override, keys dotted.
    """
    if Path(source).suffix != '.py' or Path(source).is_dir():
        if key or options:
            raise InputError(f'{source} is no config (.py), so it has no dataset key and no options')
        return ImageFolder(source)
    config = load_config(source, dict(options) if options else None)
    if key is None:
        loader = next((name for name in LOADERS if config.get(name)), None)
        if loader is None:
            raise ConfigError(f'{source} has none of {", ".join(LOADERS)}; name the place of the dataset '
                              '(--dataset-key)')
        key = f'{loader}.dataset'
    node: Any = dict(config.items())
    for part in key.split('.'):
        places = {str(i): item for i, item in enumerate(node)} if isinstance(node, list | tuple) else node
        if not isinstance(places, Mapping) or part not in places:
            known = ', '.join(places) if isinstance(places, Mapping) else 'nothing'
            raise ConfigError(f'{source} has no {key}: where {part!r} should be there is {known}')
        node = places[part]
    if not isinstance(node, Mapping) or 'type' not in node:
        raise ConfigError(f'{key!r} of {source} must be a dict with the type of a dataset, got '
                          f'{type(node).__name__}')
    # Views of a training pipeline need not even be buildable here.
    settings = dict(node.items())
    return DATASETS.build({**settings, 'pipeline': []} if 'pipeline' in settings else settings)


class PreparedImages(Dataset):
    """Items as the encoder takes them, [C, H, W]; of an unreadable one, the reason as text."""

    def __init__(self, dataset: Any, preparation: Preparation) -> None:
        self.dataset, self.preparation = dataset, preparation

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensor | str:
        try:
            return self.preparation(self.dataset.get_data_info(index))
        except ImageReadError as error:
            if error.errno in SHORTAGES:            # of memory or file handles: no fault of the image
                raise
            return str(error)


def collate(items: list[Tensor | str]) -> tuple[Tensor | None, dict[int, str]]:
    """Return the readable images [n, C, H, W], None if there are none; and the others' reasons by place."""
    reasons = {place: item for place, item in enumerate(items) if isinstance(item, str)}
    readable = [item for item in items if not isinstance(item, str)]
    return torch.stack(readable) if readable else None, reasons
