"""``mmsimclr benchmark`` and ``predict``: measure an encoder, and draw what a fine-tuned model finds."""

import os
import sys
from pathlib import Path

import click

from mmsimclr.cli import options


@options.command()
@click.argument('config')
@click.argument('checkpoint', required=False)
@click.option('--init', type=click.Choice(['checkpoint', 'random']), default='checkpoint',
              help="random: measure the config's `random_encoder` at random initialisation.")
@click.option('--check', is_flag=True, help='Read the annotations of a detection or segmentation config, and '
              'the CHECKPOINT if there is one, and stop.')
@click.option('--work-dir', help='Folder of result and logs.  [default: work_dirs/CONFIG]')
@click.option('--select', help='Address of the encoder, where the checkpoint has several.')
@click.option('--feature-cache', help='Folder of extracted features.  [default: beside the work dir]')
@click.option('--resume', is_flag=True,
              help='Go on with an interrupted training from the newest checkpoint in the work dir.')
@click.option('--dedupe', is_flag=True, help='List test images that show the same picture as a training '
              'image, in duplicates.csv in the work dir.')
@options.allow_changed_option
@options.device_option
@options.config_options
@options.launcher_options
def benchmark(config: str, checkpoint: str | None, init: str, check: bool, work_dir: str | None,
              select: str | None, feature_cache: str | None, resume: bool, dedupe: bool,
              allow_changed: tuple[str, ...], device: str, cfg_options: dict, launcher: str) -> None:
    """Measure an encoder by a protocol.

    CONFIG is a file, or a name of `mmsimclr configs list`; CHECKPOINT a file, a work directory, an address
    or a model-zoo name.
    """
    if not check and (checkpoint is None) == (init == 'checkpoint'):
        raise click.UsageError('name a CHECKPOINT, or ask for --init random, not both')
    from mmsimclr import distributed
    from mmsimclr.config import load_config
    from mmsimclr.protocols import check_benchmark, run_benchmark
    from mmsimclr.reporting import result_text
    from mmsimclr.runner import resume_command
    settings = load_config(config, cfg_options, work_dir)
    if check:
        click.echo(check_benchmark(settings, checkpoint, select))
        return
    settings.launcher, settings.resume = launcher, resume or settings.get('resume', False)
    settings.allow_changed, settings.go_on = list(allow_changed), resume_command(options.command_line())
    result = run_benchmark(settings, checkpoint, config_path=settings.filename, select=select,
                           cache_dir=feature_cache, device=device, command=options.command_line(),
                           dedupe=dedupe)
    if distributed.rank() == 0:
        click.echo(result_text(result))
        click.echo(f'{settings.work_dir}/result.json')
    distributed.stop()


@options.command()
@click.argument('config')
@click.argument('checkpoint')
@click.argument('images')
@click.option('--out', required=True, help='Folder of the pictures.')
@click.option('--score', type=float, default=0.3, help='Draw detections from this score on.')
@options.device_option
@options.config_options
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
