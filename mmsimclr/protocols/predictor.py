"""What a fine-tuned detector or segmenter sees in an image, drawn."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, VISUALIZERS, DefaultScope
from PIL import Image, UnidentifiedImageError

from mmsimclr.checkpoints import CheckpointError, fill_model, find_checkpoint, read_checkpoint
from mmsimclr.checkpoints.record import RECORD_KEY, unpack_record
from mmsimclr.config import ConfigError
from mmsimclr.datasets.shapes_export import voc_palette
from mmsimclr.protocols.downstream_model import complete_model

VISUALIZER = {'mmdet': 'mmdet.DetLocalVisualizer', 'mmseg': 'mmseg.SegLocalVisualizer'}


class Predictor:
    """A detector or segmenter out of the work directory of its benchmark.

    Args:
        config: The benchmark's config; architecture, scale of the images and classes come from the
            checkpoint.
        checkpoint: File or work directory of the fine-tuning.
        device: Where to compute; 'auto' is the GPU if there is one.

    Raises:
        ConfigError: If the config is not one of detection or segmentation.
        CheckpointError: If the file is not a fine-tuned model's, or does not fill the model.
    """

    def __init__(self, config: Config, checkpoint: str | Path, device: str = 'auto') -> None:
        self.scope = config.get('default_scope')
        if self.scope not in VISUALIZER:
            raise ConfigError('pictures are drawn of detection and segmentation, and the default_scope of '
                              f'this config is {self.scope!r}; it must be one of {", ".join(VISUALIZER)}')
        file = read_checkpoint(find_checkpoint(checkpoint))
        meta = file.tree.get('meta') or {}
        self.classes = (meta.get('dataset_meta') or {}).get('classes')
        if RECORD_KEY not in meta or not self.classes:
            raise CheckpointError(f'{file.path} does not say its encoder and its classes: it is not the '
                                  'checkpoint of a fine-tuned model of tools/benchmark.py')
        settings, scale, _ = unpack_record(meta[RECORD_KEY])
        model = copy.deepcopy(config.model)
        complete_model(model, settings, scale, len(self.classes))
        steps = [step for step in config.test_dataloader.dataset.pipeline
                 if 'LoadAnnotations' not in str(step['type'])]
        with DefaultScope.overwrite_default_scope(self.scope):
            self.model = MODELS.build(model).eval()
            self.pipeline = Compose(steps)
            self.visualizer = VISUALIZERS.build(dict(type=VISUALIZER[self.scope], name=f'predict-{id(self)}'))
        fill_model(self.model, file.tree, file.path)
        self.model.to('cuda' if device == 'auto' and torch.cuda.is_available() else
                      'cpu' if device == 'auto' else device)
        self.visualizer.dataset_meta = _palette(meta['dataset_meta'], self.classes)

    @torch.no_grad()
    def predict(self, path: str | Path) -> Any:
        """Return mmdet's or mmseg's data sample of an image file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not an image.
        """
        _open(path).close()
        with DefaultScope.overwrite_default_scope(self.scope):
            item = self.pipeline(dict(img_path=str(path), img_id=0))
            return self.model.test_step(pseudo_collate([item]))[0]

    def draw(self, path: str | Path, out: str | Path, score: float = 0.3) -> Path:
        """Draw boxes and masks, or an overlay of the classes, on an image; return the picture's path.

        Args:
            path: The image.
            out: Folder of the picture, which is ``NAME.png``.
            score: Detections that are less sure are not drawn, in [0, 1].
        """
        sample = self.predict(path).cpu()
        with _open(path) as image:
            pixels = np.array(image.convert('RGB'))
        picture = Path(out) / f'{Path(path).stem}.png'
        picture.parent.mkdir(parents=True, exist_ok=True)
        extra = dict(pred_score_thr=score) if self.scope == 'mmdet' else {}
        with DefaultScope.overwrite_default_scope(self.scope):
            self.visualizer.add_datasample(
                picture.stem, pixels, sample, draw_gt=False, out_file=str(picture), **extra)
        return picture


def _open(path: str | Path) -> Image.Image:
    if not Path(path).is_file():
        raise FileNotFoundError(f'no image at {path}')
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError(f'{path} is not an image that can be read') from error


def _palette(metainfo: Mapping[str, Any], classes: tuple[str, ...]) -> dict[str, Any]:
    """Return classes and colours, VOC's where the data have none of their own."""
    first = 0 if classes[0] == 'background' else 1
    colours = metainfo.get('palette') or voc_palette()[first:first + len(classes)].tolist()
    return dict(classes=classes, palette=[tuple(colour) for colour in colours])
