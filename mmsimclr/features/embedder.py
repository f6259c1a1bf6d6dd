"""Images in, features out."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from mmsimclr import checkpoints
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.features.fingerprint import settings_sha256, weights_sha256
from mmsimclr.features.manifest import decisive_settings
from mmsimclr.features.pooling import POOLINGS, STAGES, first_not_finite, out_indices, pooled_stages
from mmsimclr.features.preparation import preparation_for
from mmsimclr.models import ViewPreprocessor

ACCEPTED = ('a path, a PIL image, an RGB uint8 array [H, W, 3], a list of these, a uint8 array [N, H, W, 3] '
            'or a uint8 tensor [N, 3, H, W]')


class Embedder:
    """A pre-trained encoder as a function from images to features.

    Images are read as RGB, the short side is resized to 256 pixels and the central 224 are cut out (32 and
    32 for an encoder with the CIFAR stem), scaled as the checkpoint says, and the encoder's last map is
    averaged over its positions. Convolutions are in full float32 and deterministic on every device.

    Args:
        checkpoint: A file, address or model-zoo name (see :func:`mmsimclr.checkpoints.build_encoder`), or
            a backbone, which is moved to the device and put in eval mode.
        device: ``'auto'`` is the GPU if there is one; otherwise as torch names them.
        stages: What is returned: ``'pooled'``, the last map; or several of ``'stem'``, ``'layer1'`` ...
            ``'layer4'`` and ``'pooled'``.
        pooling: ``'average'``: each map is averaged over its positions; ``'grid'``: over the windows of a
            grid, about 9,000 numbers for each of ``'stem'`` ... ``'layer4'`` of a ResNet-50.
        normalise: Whether to scale each feature vector to length 1.
        batch_size: Images in one forward pass, >= 1.
        resize_px: Short side after resizing, in pixels, in place of the usual one.
        crop_px: Side of the central crop, in pixels, in place of the usual one.
        interpolation: See :class:`Preparation`.
        squash: Whether to squash the image into the square rather than to cut its centre out.
        input: Scale of the images, needed for a backbone; otherwise in place of what the checkpoint says.
        select: Address of the encoder, where the checkpoint has several.

    Attributes:
        report: The :class:`~mmsimclr.checkpoints.LoadReport`; None for a backbone.
        backbone: The encoder.
        preparation: The :class:`Preparation` of images.
        input: The :class:`~mmsimclr.checkpoints.InputScale` in use.
        feat_dims: Length of a feature vector by stage.

    Raises:
        ValueError: If an argument is out of range, or the encoder does not return the map of a stage.
        TypeError: If a backbone is given without ``input``, or does not return maps.
        FileNotFoundError: If there is no such checkpoint.
        CheckpointError: If it cannot be used.
    """

    def __init__(self, checkpoint: str | Path | nn.Module, device: str | torch.device = 'auto', *,
                 stages: str | Sequence[str] = 'pooled', normalise: bool = False, batch_size: int = 64,
                 resize_px: int | None = None, crop_px: int | None = None,
                 interpolation: str = 'bicubic', squash: bool = False, pooling: str = 'average',
                 input: checkpoints.InputScale | None = None, select: str | None = None) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size must be >= 1, got {batch_size}')
        self.stages = (stages,) if isinstance(stages, str) else tuple(stages)
        if not self.stages or len(set(self.stages) & set(STAGES)) < len(self.stages):
            raise ValueError(f'stages must be one or several of {", ".join(STAGES)}, each once, got '
                             f'{stages!r}')
        if pooling not in POOLINGS or (pooling == 'grid' and 'pooled' in self.stages):
            raise ValueError(f"pooling must be 'average', or 'grid' for stages other than 'pooled', got "
                             f'{pooling!r} for {", ".join(self.stages)}')
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device, self.normalise, self.batch_size = torch.device(device), normalise, batch_size
        self.pooling = pooling
        if isinstance(checkpoint, nn.Module):
            if input is None:
                raise TypeError('a backbone does not say how its images are scaled: give input, e.g. '
                                'InputScale() for ImageNet mean and deviation or UNIT_RANGE for 0 to 1')
            backbone, self.report = checkpoint, None
        else:
            backbone, self.report = checkpoints.build_encoder(
                checkpoint, select=select, out_indices=out_indices(self.stages))
        self.backbone = backbone.to(self.device).eval()
        self.input = input if input is not None else self.report.input
        self.preparation = preparation_for(self.backbone, resize_px, crop_px, interpolation, squash)
        self._scale = ViewPreprocessor(self.input.mean, self.input.std).to(self.device)
        side = self.preparation.crop_px
        probe = self.embed_batch(torch.zeros(1, 3, side, side, dtype=torch.uint8))
        self.feat_dims = {stage: rows.shape[1] for stage, rows in probe.items()}

    @property
    def feat_dim(self) -> int | dict[str, int]:
        """Length of a feature vector; by stage, where there are several."""
        return self._one_or_all(self.feat_dims)

    def __call__(self, images: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Return the features of images.

        Args:
            images: A path, a PIL image, an RGB uint8 array [H, W, 3], or a list of these; a uint8 array
                [N, H, W, 3] or a uint8 tensor [N, 3, H, W].

        Returns:
            float32 [N, C], row i of image i (one image gives one row); a dict of them by stage, where
            several stages were asked for.

        Raises:
            TypeError: If images are something else, e.g. of floats.
            ValueError: If there are none, or a feature is not finite.
            ImageReadError: If a file cannot be read; the message names it.
        """
        items = _as_items(images)
        with kept_memory(self.device) if len(items) > self.batch_size else nullcontext():
            batches = [self._embed_items(items[start:start + self.batch_size], start)
                       for start in range(0, len(items), self.batch_size)]
        return self._one_or_all({stage: np.concatenate([batch[stage].numpy() for batch in batches])
                                 for stage in self.stages})

    def _embed_items(self, items: Sequence[Any], start: int) -> dict[str, Tensor]:
        batch = self.embed_batch(torch.stack([self.preparation(item) for item in items]))
        for rows in batch.values():
            if (bad := first_not_finite(rows)) is not None:
                raise ValueError(f'the feature of image {start + bad} is not finite: the weights of the '
                                 'encoder are damaged, or the images are not scaled as it expects')
        return batch

    def embed_batch(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return features by stage, float32 [N, C] on the CPU, of prepared images, uint8 [N, 3, H, W]."""
        with torch.inference_mode(), torch.backends.cudnn.flags(
                enabled=True, deterministic=True, allow_tf32=False):
            images = self._scale({'inputs': inputs})['inputs']
            features = pooled_stages(self.backbone, images, self.stages, self.normalise, self.pooling)
            return {stage: rows.cpu() for stage, rows in features.items()}

    def describe(self) -> dict[str, Any]:
        """Return what decides the features, in terms JSON can hold: encoder, scale, preparation, stages."""
        report = self.report
        loaded = {name: getattr(report, name, None) for name in ('sha256', 'layout', 'address')}
        return dict(
            encoder=dict(path=str(report.path) if report else None, **loaded,
                         tensors_matched=report.matched if report else None,
                         tensors_expected=report.expected if report else None,
                         weights_sha256=weights_sha256(self.backbone)),
            input=dict(mean=list(self.input.mean), std=list(self.input.std), stated=self.input.stated),
            preparation=asdict(self.preparation),
            stages=self.feat_dims,
            pooling=self.pooling,
            normalised=self.normalise)

    def fingerprint(self) -> str:
        """Return a hash of what decides the features of an image; the path of the checkpoint does not."""
        return settings_sha256(decisive_settings(self.describe()))

    def _one_or_all(self, by_stage: dict) -> Any:
        return by_stage[self.stages[0]] if len(self.stages) == 1 else by_stage


def _as_items(images: Any) -> list[dict]:
    """Return what LoadImage takes, one dict for each image."""
    if isinstance(images, Tensor):
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise TypeError(f'images must be {ACCEPTED}; got a {images.dtype} tensor {list(images.shape)}')
        images = list(images.permute(0, 2, 3, 1).cpu().numpy())
    elif isinstance(images, np.ndarray) and images.ndim == 4:
        images = list(images)
    elif not isinstance(images, list | tuple):
        images = [images]
    if not images:
        raise ValueError('there are no images: the list is empty')
    return [_as_item(image, f'image {number} of {len(images)}' if len(images) > 1 else 'images')
            for number, image in enumerate(images)]


def _as_item(image: Any, name: str) -> dict:
    if isinstance(image, str | os.PathLike):
        if os.path.isdir(image):
            raise TypeError(f'{image} is a folder; list its images, or use tools/extract_features.py')
        return {'img_path': os.fspath(image)}
    if isinstance(image, Image.Image):
        return {'img': ImageOps.exif_transpose(image)}          # as it is done with files
    is_rgb = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and \
        image.shape[2] == 3 and image.size
    if not is_rgb:
        got = f'a {image.dtype} array {list(image.shape)}' if isinstance(image, np.ndarray) \
            else type(image).__name__
        raise TypeError(f'{name} must be {ACCEPTED}; got {got}')
    return {'img': image}
