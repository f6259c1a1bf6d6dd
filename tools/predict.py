"""Draw what a fine-tuned model sees: python tools/predict.py CONFIG CHECKPOINT IMAGE|FOLDER --out DIR."""

import argparse
import os
import sys
from pathlib import Path

from mmsimclr.config import ConfigOptions, load_config
from mmsimclr.datasets.annotations import UnreadableImageError
from mmsimclr.datasets.unlabeled_image_folder import DEFAULT_EXTENSIONS, find_images
from mmsimclr.reporting.predictor import Predictor, picture_paths
from mmsimclr.runner import plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw boxes and masks, or classes, that a model finds')
    parser.add_argument('config', help='config of configs/benchmarks/detection or segmentation')
    parser.add_argument('checkpoint', help='file or work directory of the fine-tuning')
    parser.add_argument('images', help='an image, or a folder of images')
    parser.add_argument('--out', required=True, help='folder of the pictures')
    parser.add_argument('--score', type=float, default=0.3,
                        help='draw detections from this score on (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='default: the GPU if there is one')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    source = Path(args.images)
    is_folder = source.is_dir()
    root = source if is_folder else source.parent
    images = [root / os.fsdecode(name) for name in find_images(source, DEFAULT_EXTENSIONS)] \
        if is_folder else [source]
    pictures = picture_paths(images, root, Path(args.out))
    predictor = Predictor(load_config(args.config, args.cfg_options), args.checkpoint, args.device)
    sys.stdout.reconfigure(errors='surrogateescape')                  # a name may be any bytes
    num_unreadable = 0
    for image, picture in zip(images, pictures, strict=True):
        try:
            predictor.draw(image, picture, args.score)
        except UnreadableImageError as error:
            if not is_folder:
                raise
            num_unreadable += 1
            print(f'passed over: {error}', file=sys.stderr)
        else:
            print(picture)
    if num_unreadable:
        sys.exit(f'{num_unreadable} of {len(images)} images could not be read')


if __name__ == '__main__':
    with plain_errors():
        main()
