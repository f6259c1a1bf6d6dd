"""Predictions of a fine-tuned detector or segmenter, drawn on images."""

import colorsys
import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, MODELS, VISUALIZERS, DefaultScope
from mmengine.structures import PixelData
from PIL import Image

from mmsimclr.checkpoints import CheckpointError, fill_model, find_checkpoint, read_checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, unpack_record
from mmsimclr.config import ConfigError
from mmsimclr.datasets.annotations import UnreadableImageError, image_size
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.files import atomic_writer
from mmsimclr.protocols.downstream import complete_model

DRAWN_BY = {'mmdet': 'DetLocalVisualizer', 'mmseg': 'SegLocalVisualizer'}
LEAST_SIDE_PX = 480                          # of the longer side; smaller images are enlarged to it
GOLDEN_RATIO = (5**0.5 - 1) / 2


class Predictor:
    """A detector or segmenter that a benchmark has fine-tuned.

    Args:
        config: The benchmark's config; encoder, scale and classes come from the checkpoint.
        checkpoint: File or work directory of the fine-tuning.
        device: Where to compute; 'auto' is the GPU if there is one.

    Raises:
        ConfigError: If the config is not one of detection or segmentation.
        CheckpointError: If the file is not a fine-tuned model's, or does not fill the model.
    """

    def __init__(self, config: Config, checkpoint: str | Path, device: str = 'auto') -> None:
        self.scope = config.get('default_scope')
        if self.scope not in DRAWN_BY:
            raise ConfigError('pictures are drawn of detection and segmentation, and the default_scope of '
                              f'this config is {self.scope!r}; it must be one of {", ".join(DRAWN_BY)}')
        file = read_checkpoint(find_checkpoint(checkpoint))
        meta = file.tree.get('meta') or {}
        self.classes = (meta.get('dataset_meta') or {}).get('classes')
        if RECORD_KEY not in meta or not self.classes:
            raise CheckpointError(f'{file.path} does not say its encoder and its classes: it is not the '
                                  'checkpoint of a fine-tuned model of mmsimclr benchmark')
        settings, scale = unpack_record(meta[RECORD_KEY])
        model = copy.deepcopy(config.model)
        complete_model(model, settings, scale, len(self.classes))
        dataset = config.test_dataloader.dataset
        with DefaultScope.overwrite_default_scope(self.scope):
            self.model = MODELS.build(model).eval()
            self.pipeline = Compose([step for step in dataset.pipeline
                                     if 'LoadAnnotations' not in str(step['type'])])
            self.visualizer = VISUALIZERS.build(dict(type=DRAWN_BY[self.scope], name=str(id(self)), alpha=.5))
        self.visualizer.dataset_meta = dict(classes=self.classes, palette=_colours(dataset, self.classes))
        fill_model(self.model, file.tree, file.path)
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.model.to(device)

    @torch.no_grad()
    def predict(self, path: str | Path) -> Any:
        """Return mmdet's or mmseg's data sample of an image file.

        Raises:
            FileNotFoundError: If there is no such file.
            UnreadableImageError: If it is not an image, or not all of one.
        """
        _pixels(path)
        with DefaultScope.overwrite_default_scope(self.scope):
            item = self.pipeline(dict(img_path=str(path), img_id=0))
            return self.model.test_step(pseudo_collate([item]))[0].cpu()

    def draw(self, path: str | Path, picture: str | Path, score: float = 0.3) -> None:
        """Draw boxes and masks, or the classes of the pixels, on an image.

        Args:
            path: The image.
            picture: The PNG file to write or replace; its folder is made.
            score: Detections that are less sure are not drawn, in [0, 1].
        """
        if not 0 <= score <= 1:
            raise InputError(f'score must be in [0, 1], got {score}')
        sample, pixels = self.predict(path), _pixels(path)
        factor = math.ceil(LEAST_SIDE_PX / max(pixels.shape[:2]))          # for names that can be read
        if self.scope == 'mmseg':
            sample.pred_sem_seg = PixelData(data=_enlarged(sample.pred_sem_seg.data, factor))
        else:
            sample.pred_instances = found = sample.pred_instances[sample.pred_instances.scores >= score]
            found.bboxes *= factor
            if 'masks' in found:
                found.masks = _enlarged(found.masks, factor)
        pixels = _enlarged(torch.from_numpy(pixels.copy()).permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
        self.visualizer.add_datasample('', pixels, sample, draw_gt=False,
                                       **({} if self.scope == 'mmseg' else dict(pred_score_thr=-1)))
        with atomic_writer(picture) as file:
            Image.fromarray(self.visualizer.get_image()).save(file, format='PNG')


def _enlarged(maps: torch.Tensor, factor: int) -> torch.Tensor:
    """Return maps [n, H, W] with each pixel repeated."""
    return maps.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def _pixels(path: str | Path) -> np.ndarray:
    """Return an image as the pipeline reads it, turned as its EXIF entry says, but RGB."""
    if not Path(path).is_file():
        raise MissingFileError(f'no image at {path}')
    image_size(Path(path))                           # refuses half an image, which OpenCV accepts
    pixels = mmcv.imread(str(path))
    if pixels is None:
        raise UnreadableImageError(f'{path} is not an image that OpenCV can read')
    return pixels[..., ::-1]


def picture_paths(images: Sequence[Path], root: Path, out: Path) -> list[Path]:
    """Return where the pictures of images below ``root`` go: to the same places below ``out``, ``NAME.png``.

    Where names differ in the ending alone, all pictures keep it: ``NAME.jpg.png``. No picture may take the
    place of an image.
    """
    names = [image.relative_to(root) for image in images]
    pictures = [out / name.with_suffix('.png') for name in names]
    if len(set(pictures)) < len(pictures):
        pictures = [out / f'{name}.png' for name in names]
    originals = {image.resolve() for image in images}
    for picture in pictures:
        if picture.resolve() in originals:
            raise InputError(f'{picture} is one of the images, and a picture would take its place; name '
                             'another --out')
    return pictures


def _colours(dataset: Mapping[str, Any], classes: Sequence[str]
             ) -> list[tuple[int, int, int]]:
    """Return the colours of published pictures of a dataset, or others that are distinct."""
    kind = dataset['type']
    # Not those of the checkpoint: mmseg draws colours by lot for data that have none.
    known = getattr(DATASETS.get(kind) if isinstance(kind, str) else kind, 'METAINFO', {})
    # A user's dataset in the layout of a published one has other classes.
    if known.get('palette') and tuple(known.get('classes', ())) == tuple(classes):
        return [tuple(colour) for colour in known['palette']]
    # The hue comes near to itself after 8 steps; the next ones are paler.
    parts = [colorsys.hsv_to_rgb(i * GOLDEN_RATIO % 1, (0.85, 0.45)[i // 8 % 2], 0.95)
             for i in range(len(classes))]
    return [tuple(round(255 * part) for part in colour) for colour in parts]
