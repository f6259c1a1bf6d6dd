"""``mmsimclr predict``: draw what a fine-tuned model finds in images."""

import os
import sys
from pathlib import Path

import click

from mmsimclr.cli.options import command, config_options, device_option


@command()
@click.argument('config')
@click.argument('checkpoint')
@click.argument('images')
@click.option('--out', required=True, help='Folder of the pictures.')
@click.option('--score', type=float, default=0.3, help='Draw detections from this score on.')
@device_option
@config_options
def predict(config: str, checkpoint: str, images: str, out: str, score: float, device: str,
            cfg_options: dict) -> None:
    """Draw what a fine-tuned model finds.

    It draws boxes and masks, or classes.

    CONFIG is one of configs/benchmarks/detection or segmentation, CHECKPOINT the file or work directory of
    the fine-tuning, IMAGES an image or a folder of images.
    """
    from mmsimclr.config import load_config
    from mmsimclr.datasets.annotations import UnreadableImageError
    from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
    from mmsimclr.reporting.predictor import Predictor, picture_paths
    source = Path(images)
    root = source if source.is_dir() else source.parent
    paths = [source]
    if source.is_dir():
        paths = [root / os.fsdecode(name) for name in find_images(source, DEFAULT_EXTENSIONS)]
    pictures = picture_paths(paths, root, Path(out))
    predictor = Predictor(load_config(config, cfg_options), checkpoint, device)
    sys.stdout.reconfigure(errors='surrogateescape')                  # a name may be any bytes
    num_unreadable = 0
    for path, picture in zip(paths, pictures, strict=True):
        try:
            predictor.draw(path, picture, score)
        except UnreadableImageError as error:
            if not source.is_dir():
                raise
            num_unreadable += 1
            print(f'passed over: {error}', file=sys.stderr)
        else:
            print(picture)
    if num_unreadable:
        sys.exit(f'{num_unreadable} of {len(paths)} images could not be read')
