"""Embedding images with an encoder."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from mmsimclr import checkpoints
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.encoders import features_by_stage, pooled, require_stages
from mmsimclr.engine.hooks.held_out import evaluating
from mmsimclr.errors import InputError, InputTypeError
from mmsimclr.features.fingerprint import settings_sha256, weights_sha256
from mmsimclr.features.images import preparation_for
from mmsimclr.features.store import decisive_settings
from mmsimclr.models import ViewPreprocessor, pool_feature
from mmsimclr.models.backbones.resnet import STAGE_INDICES

NOT_FINITE = 'the weights of the encoder are damaged, or the images are not scaled as it expects'
STAGES = tuple(STAGE_INDICES)
PROJECTION = re.compile(r'projection(\.hidden[1-9]\d*)?')


def of_projection_head(stages: str | Sequence[str]) -> bool:
    """Whether one of some stages is a layer of the projection head."""
    return any(map(PROJECTION.fullmatch, [stages] if isinstance(stages, str) else stages))


def describe_stage(stage: str) -> str:
    """Return, for people, what the features of a stage are."""
    if stage == 'pooled':
        return 'average of the last map'
    if not PROJECTION.fullmatch(stage):
        return f'average of {stage}'
    hidden = stage.partition('hidden')[2]
    return f'hidden layer {hidden} of the projection head' if hidden else 'output of the projection head'


def first_not_finite(rows: Tensor) -> int | None:
    """Return the number of the first row with an infinity or NaN in it; None if there is none."""
    bad = (~torch.isfinite(rows).all(dim=1)).nonzero()
    return int(bad[0]) if len(bad) else None


def extract_features(model: nn.Module, dataset: Dataset, batch_size: int = 256, num_workers: int = 0,
                     progress: Callable[[int, int], None] | None = None) -> tuple[Tensor, Tensor | None]:
    """Run the encoder over a dataset, in order, in eval mode and without gradients.

    Args:
        model: Its ``test_step`` returns an element with ``feature`` [C] for each image, as SimCLR's does.
        dataset: Items as :class:`~mmsimclr.transforms.PackImage` makes them.
        batch_size: Images in one forward pass, >= 1.
        num_workers: Loader processes.
        progress: Called with (images done, images in all) after each batch.

    Returns:
        Features, float32 [N, C], on the CPU, and labels, int64 [N], or None without ``gt_label``.

    Raises:
        ValueError: If the dataset is empty, or a feature is not finite.
    """
    if len(dataset) == 0:
        raise InputError(f'{type(dataset).__name__} is empty: there is nothing to extract features from')
    loader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=default_collate,
                        generator=torch.Generator())          # leaves the global random state alone
    features, labels, done = [], [], 0
    with evaluating(model), kept_memory(next(model.parameters(), torch.empty(0)).device):
        for batch in loader:
            rows = torch.stack([element.feature for element in model.test_step(batch)])
            if (bad := first_not_finite(rows)) is not None:
                raise InputError(f'the feature of image {done + bad} is not finite: the encoder diverged or '
                                 'its weights are damaged')
            features.append(rows.float().cpu())
            if 'gt_label' in batch['data_samples']:
                labels.append(batch['data_samples']['gt_label'])
            done += len(rows)
            if progress is not None:
                progress(done, len(dataset))
    return torch.cat(features), torch.cat(labels) if labels else None


class Embedder:
    """A pre-trained encoder as a function from images to features.

    Images are read as the checkpoint says, by default as RGB, resized and cut (see :class:`Preparation`). The
    encoder's last map is averaged over its positions. Convolutions are in full float32 and deterministic.

    Args:
        checkpoint: A file, address or model-zoo name (see :func:`mmsimclr.checkpoints.build_encoder`), or
            a backbone, which is moved to the device and put in eval mode.
        device: ``'auto'`` is the GPU if there is one; otherwise as torch names them.
        stages: Of ``'stem'``, ``'layer1'`` ... ``'layer4'`` and ``'pooled'``, the last map; and of the
            projection head ``'projection'``, its output, and ``'projection.hidden1'`` ..., behind their ReLU.
        pooling: ``'average'``: over all positions of a map; ``'grid'``: over the windows of a grid, about
            9,000 numbers for each of ``'stem'`` ... ``'layer4'`` of a ResNet-50.
        normalise: Whether to scale each feature vector to length 1.
        batch_size: Images in one forward pass, >= 1.
        resize_px, crop_px: By default the crop is as large as the views of the training, else 224 pixels, or
            32 with the CIFAR stem; the short side is 8/7 of it, or with the CIFAR stem as long.
        interpolation, squash: See :class:`Preparation`, also for a ``crop_px`` of [height, width].
        mirrored: Whether to embed the images' mirror images, left and right exchanged.
        input: Scale of the images, needed for a backbone; otherwise in place of what the checkpoint says.
        select: Address of the encoder, where the checkpoint has several.
        projection_head: A :class:`~mmsimclr.models.NonLinearNeck`, to go with a backbone.

    Attributes:
        report: The :class:`~mmsimclr.checkpoints.LoadReport`; None for a backbone.
        preparation: The :class:`Preparation` of images.
        feat_dims: Length of a feature vector by stage.
    """

    def __init__(self, checkpoint: str | Path | nn.Module, device: str | torch.device = 'auto', *,
                 stages: str | Sequence[str] = 'pooled', normalise: bool = False, batch_size: int = 64,
                 resize_px: int | None = None, crop_px: int | Sequence[int] | None = None,
                 interpolation: str = 'bicubic', squash: bool = False, mirrored: bool = False,
                 pooling: str = 'average', input: checkpoints.InputScale | None = None,
                 select: str | None = None, projection_head: nn.Module | None = None) -> None:
        if batch_size < 1:
            raise InputError(f'batch_size must be >= 1, got {batch_size}')
        self.stages = (stages,) if isinstance(stages, str) else tuple(stages)
        of_maps = [stage for stage in self.stages if not PROJECTION.fullmatch(stage)]
        if not set(of_maps) <= set(STAGES) or not 0 < len(set(self.stages)) == len(self.stages):
            raise InputError(f'stages must be one or several of {", ".join(STAGES)}, projection, '
                             f'projection.hidden1 ..., each once, got {stages!r}')
        if pooling != 'average' and (pooling != 'grid' or 'pooled' in of_maps or of_maps != [*self.stages]):
            raise InputError(f"pooling must be 'average', or 'grid' for stages other than 'pooled' and the "
                             f'projection head, got {pooling!r} for {", ".join(self.stages)}')
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device, self.batch_size = torch.device(device), batch_size
        self.normalise, self.pooling, self.mirrored = normalise, pooling, mirrored
        if isinstance(checkpoint, nn.Module):
            if input is None:
                raise InputTypeError('a backbone does not say how its images are scaled: give input, e.g. '
                                     'InputScale() for ImageNet mean and deviation or UNIT_RANGE for 0 to 1')
            backbone, self.report = checkpoint, None
        else:
            weights = checkpoints.read_encoder(checkpoint, select)
            if of_projection_head(self.stages):
                projection_head = checkpoints.build_projection_head(weights)
                of_maps.append('pooled')
            backbone, self.report = checkpoints.build_encoder(weights, stages=of_maps)
        self.projection_head = None
        if of_projection_head(self.stages):
            if projection_head is None:
                raise InputError(f'{", ".join(self.stages)}: a backbone alone has no projection head; give '
                                 'projection_head, or the checkpoint of the pre-training run')
            self.projection_head = projection_head.to(self.device).eval()
        self.backbone = backbone.to(self.device)
        self.backbone.eval()                                 # which of mmpretrain's returns nothing
        self.input = input if input is not None else self.report.input
        if len(self.input.mean) != 3 and self.input.reading is None:
            raise InputError(f'the encoder takes images of {len(self.input.mean)} channels, and nothing says '
                             'how they are read: give input=InputScale(mean, std, reading=dict(channels=..., '
                             'value_range=..., dtype=None))')
        self.preparation = preparation_for(self.backbone, resize_px, crop_px, interpolation, squash,
                                           self.input.reading)
        self._scale = ViewPreprocessor(self.input.mean, self.input.std).to(self.device)
        side = self.preparation.crop_px
        height, width = side if isinstance(side, list) else (side, side)
        probe = self.embed_batch(torch.zeros(1, len(self.input.mean), height, width, dtype=torch.uint8))
        self.feat_dims = {stage: rows.shape[1] for stage, rows in probe.items()}

    @classmethod
    def of_features(cls, manifest: Mapping[str, Any], checkpoint: str | Path | None = None,
                    device: str = 'auto') -> 'Embedder':
        """Return the embedder that made stored features, from their manifest; by default with its own path.

        Raises:
            InputError: If they have several stages, name no checkpoint, or are of another encoder.
        """
        encoder, preparation = manifest['encoder'], manifest['preparation']
        stages, source = list(manifest['stages']), checkpoint or encoder.get('path')
        if len(stages) != 1 or source is None:
            raise InputError('features of one stage and their encoder are needed, got '
                             f'{", ".join(stages)} and {source}; name it (--checkpoint)')
        found = cls(source, device, stages=stages[0], normalise=bool(manifest.get('normalised')),
                    pooling=manifest.get('pooling', 'average'), select=encoder.get('address'), **preparation)
        if found.report.sha256 != encoder.get('sha256'):
            raise InputError(f'{source} holds another encoder than the one of the features; name theirs '
                             '(--checkpoint)')
        return found

    @property
    def feat_dim(self) -> int | dict[str, int]:
        """Length of a feature vector; by stage, where there are several."""
        return self._one_or_all(self.feat_dims)

    def __call__(self, images: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Return the features of images, float32 [N, C]; a dict of them where there are several stages.

        ``images`` are a path, a PIL image, an RGB uint8 array [H, W, 3], or a list of these; a uint8 array
        [N, H, W, 3] or a uint8 tensor [N, 3, H, W]. An encoder of other images takes arrays of its channels,
        with the values and the type of its files. Raise TypeError if they are something else, ValueError if
        there are none or a feature is not finite, and ImageReadError, which names the file, if one cannot be
        read.
        """
        items, batches = _as_items(images, self.input.reading), []
        with kept_memory(self.device) if len(items) > self.batch_size else nullcontext():
            for start in range(0, len(items), self.batch_size):
                batch = items[start:start + self.batch_size]
                batches.append(self.embed_batch(torch.stack([self.preparation(item) for item in batch])))
                for rows in batches[-1].values():
                    if (bad := first_not_finite(rows)) is not None:
                        raise InputError(f'the feature of image {start + bad} is not finite: {NOT_FINITE}')
        return self._one_or_all({stage: torch.cat([batch[stage] for batch in batches]).numpy()
                                 for stage in self.stages})

    def embed_batch(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return features by stage, float32 [N, C] on the CPU, of prepared images [N, C, H, W]."""
        with torch.inference_mode(), torch.backends.cudnn.flags(
                enabled=True, deterministic=True, allow_tf32=False):
            images = self._scale({'inputs': inputs})['inputs']
            found = features_by_stage(self.backbone, images.flip(3) if self.mirrored else images)
            if self.projection_head is not None:
                found |= self.projection_head.named_layers(found['pooled'].float())
            require_stages(self.backbone, found, self.stages)
            features = {stage: found[stage].float() for stage in self.stages}
            features = {stage: pool_feature(rows, stage) if self.pooling == 'grid' else pooled(rows)
                        for stage, rows in features.items()}
            return {stage: (F.normalize(rows, dim=1) if self.normalise else rows).cpu()
                    for stage, rows in features.items()}

    def describe(self) -> dict[str, Any]:
        """Return what decides the features, in terms JSON can hold: encoder, scale, preparation, stages."""
        report, backbone = self.report, self.backbone
        # Of what is computed, tensors and printed structure show neither heads of attention nor tokens.
        built = {name: repr(getattr(backbone, name, None)) for name in ('settings', 'tokens')}
        attributes = dict(sha256='sha256', layout='layout', address='address', tensors_matched='matched',
                          tensors_expected='expected')
        return dict(
            encoder=dict(path=str(report.path) if report else None,
                         **{key: getattr(report, name, None) for key, name in attributes.items()},
                         weights_sha256=weights_sha256(backbone), kind=type(backbone).__qualname__, **built),
            input=dict(mean=list(self.input.mean), std=list(self.input.std), stated=self.input.stated,
                       **({'reading': dict(self.input.reading)} if self.input.reading else {})),
            preparation=asdict(self.preparation), stages=self.feat_dims, pooling=self.pooling,
            normalised=self.normalise, **(dict(mirrored=True) if self.mirrored else {}),
            **({} if self.projection_head is None else dict(projection_head=dict(
                weights_sha256=weights_sha256(self.projection_head)))))

    def fingerprint(self) -> str:
        """Return a hash of what decides the features of an image; the path of the checkpoint does not."""
        return settings_sha256(decisive_settings(self.describe()))

    def _one_or_all(self, by_stage: dict) -> Any:
        return by_stage[self.stages[0]] if len(self.stages) == 1 else by_stage


def _as_items(images: Any, reading: Mapping[str, Any] | None) -> list[dict]:
    """Return one dict for each image, as LoadImage or LoadChannels takes it."""
    if isinstance(images, Tensor) and images.ndim == 4 and (
            reading or (images.dtype == torch.uint8 and images.shape[1] == 3)):
        images = list(images.permute(0, 2, 3, 1).cpu().numpy())
    elif isinstance(images, np.ndarray) and images.ndim == 4:
        images = list(images)
    elif not isinstance(images, list | tuple):
        images = [images]
    if not images:
        raise InputError('there are no images: the list is empty')
    return [_as_item(image, f'image {number} of {len(images)}' if len(images) > 1 else 'images', reading)
            for number, image in enumerate(images)]


def _as_item(image: Any, name: str, reading: Mapping[str, Any] | None) -> dict:
    if isinstance(image, str | os.PathLike):
        if os.path.isdir(image):
            raise InputTypeError(f'{image} is a folder; list its images, or use mmsimclr embed')
        return {'img_path': os.fspath(image)}
    if isinstance(image, Image.Image):
        return {'img': ImageOps.exif_transpose(image)}          # as it is done with files
    if isinstance(image, np.ndarray) and image.size and (
            reading or (image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3)):
        return {'img': image}
    got = f'{image.dtype} {list(image.shape)}' if isinstance(image, np.ndarray | Tensor) \
        else type(image).__name__
    raise InputTypeError(f'{name} must be a path, a PIL image, an RGB uint8 array [H, W, 3], a list of '
                         f'these, a uint8 array [N, H, W, 3] or a uint8 tensor [N, 3, H, W]; got {got}')
