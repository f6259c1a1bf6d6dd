"""``mmsimclr prepare``: bring datasets into the layout of the configs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from mmsimclr.cli.options import GOES_ON, Group

say = partial(print, flush=True)
timeout_option = click.option('--timeout', type=float, default=30.0,
                              help='Seconds without a byte after which a download counts as stalled.')


def data_root_option(default: str, text: str = 'Folder of the data.') -> Callable:
    """Return the decorator that adds the option for the folder of a dataset."""
    return click.option('--data-root', 'root', default=default, help=text)


@click.group(cls=Group)
def prepare() -> None:
    """Bring a dataset into the configs' layout."""


@prepare.command(interrupted=GOES_ON)
@data_root_option('data/cifar10', 'Folder to prepare; the batches go to its cifar-10-batches-bin.')
@click.option('--source', default='auto',
              help="'official' (download), the path of a folder or .tar.gz you have, or 'auto': files "
                   "already in --data-root, then official.")
@click.option('--url', help='Address of cifar-10-binary.tar.gz, e.g. of a mirror.  [default: official]')
@timeout_option
@click.option('--keep-archive', is_flag=True, help='Keep the downloaded archive in --data-root.')
def cifar10(root: str, source: str, url: str | None, timeout: float, keep_archive: bool) -> None:
    """Bring CIFAR-10 into the official binary layout, verified against the official md5 sums."""
    from mmsimclr.prepare.cifar10 import OFFICIAL_URL, prepare_cifar10
    prepare_cifar10(root, source, url=url or OFFICIAL_URL, timeout=timeout, keep_archive=keep_archive,
                    report=say)


@prepare.command('imagenet-subsets', interrupted=GOES_ON)
@data_root_option('data/imagenet', 'The lists go to its folder subsets.')
@click.option('--source', help='Folder with 1percent.txt and 10percent.txt to use; nothing is fetched.')
@click.option('--url', help='Address of a list, {name} being its file name.  [default: official]')
@timeout_option
def imagenet_subsets(root: str, source: str | None, url: str | None, timeout: float) -> None:
    """Bring the official lists of 1 % and 10 % of ImageNet's labels to where the configs look for them."""
    from mmsimclr.errors import UserError
    from mmsimclr.prepare.imagenet_subsets import OFFICIAL_URL, prepare_imagenet_subsets
    try:
        prepare_imagenet_subsets(Path(root) / 'subsets', source, url or OFFICIAL_URL, timeout)
    except (OSError, UserError) as error:
        if source is not None:
            raise
        raise UserError(f'{error}\nwithout a network: put both lists of imagenet_subsets/ of '
                        'google-research/simclr into a folder and give it as --source') from error


def _devkit(name: str, about: str, *folders: Callable) -> click.Command:
    """Return the command that checks a dataset; its error also says which files are needed."""
    def check(**settings: Any) -> None:
        from mmsimclr.errors import UserError
        from mmsimclr.prepare import devkits
        try:
            getattr(devkits, f'prepare_{name}')(**settings)
        except (OSError, UserError) as error:
            raise UserError(f'{error}\nneeded: {devkits.WHERE[name]}') from error

    for decorate in (click.option('--allow-missing', is_flag=True,
                                  help='End well though official images are missing.'), *reversed(folders)):
        check = decorate(check)
    return prepare.command(name, help=about)(check)


voc = _devkit('voc', 'Check a PASCAL VOC devkit (VOC2007, VOC2012) for detection, and say what is missing.',
              data_root_option('data/VOCdevkit'))
coco = _devkit('coco', 'Check COCO 2017 for detection, and say what is missing.',
               data_root_option('data/coco'))
cityscapes = _devkit(
    'cityscapes', 'Write the training labels of Cityscapes, check it, and say what is missing.',
    data_root_option('data/cityscapes'))
voc12aug = _devkit(
    'voc12aug', "Merge SBD's masks into VOC2012 (VOC12aug), check them, and say what is missing.",
    data_root_option('data/VOCdevkit/VOC2012'),
    click.option('--sbd', default='data/benchmark_RELEASE/dataset', help="SBD's folder with cls/."))
places205 = _devkit(
    'places205', 'Check that ROOT (data/places205) has all images that the lists of Places205 name.',
    click.argument('root', default='data/places205'))


@prepare.command()
@click.argument('layout', type=click.Choice(['imagefolder', 'voc', 'coco', 'market']))
@click.argument('out')
@click.option('--train', type=int, default=1000, help='Images; 0 leaves the split out.')
@click.option('--val', type=int, default=200)
@click.option('--test', type=int, default=0)
@click.option('--image-size', type=int, default=128, help='Side in pixels.')
@click.option('--objects', type=click.Choice(['single', 'multi']),
              help='Objects of an image.  [default: multi for voc and coco, else single]')
@click.option('--max-objects', type=int, default=4)
@click.option('--seed', type=int, default=0)
def shapes(layout: str, out: str, train: int, val: int, test: int, objects: str | None,
           **settings: int) -> None:
    """Write the procedural Shapes images to files in the ImageFolder, Pascal VOC, COCO or Market-1501 layout.

    With market, --train, --val and --test count identities.

    OUT is the folder to create; it must not hold anything yet.
    Example: mmsimclr prepare shapes coco data/shapes_coco --train 2000 --val 500
    """
    from mmsimclr.datasets import Shapes
    from mmsimclr.prepare.shapes import WRITERS
    objects = objects or ('multi' if layout in ('voc', 'coco') else 'single')
    counts = {'train': train, 'val': val, 'test': test}
    datasets = {split: Shapes(num_images=count, split=split, objects=objects, **settings)
                for split, count in counts.items() if count != 0}
    folder = WRITERS[layout](datasets, out)
    kind = 'identities' if layout == 'market' else 'images'
    click.echo(f'{folder}: ' + ', '.join(f'{len(d)} {split} {kind}' for split, d in datasets.items()))


@prepare.group()
def shards() -> None:
    """Pack a folder of images into tar shards that webdataset reads too, or index shards that are there."""


@shards.command(interrupted=GOES_ON)
@click.argument('source', type=click.Path(path_type=Path))
@click.argument('out', type=click.Path(path_type=Path))
@click.option('--labels', is_flag=True, help='The folders right below SOURCE are classes.')
@click.option('--images-per-shard', type=int, default=10_000)
@click.option('--seed', type=int, default=0, help='Seed of the order of images.')
def write(source: Path, out: Path, labels: bool, images_per_shard: int, seed: int) -> None:
    """Write the images of SOURCE, a folder of any depth, as shards to OUT; go on where it was interrupted."""
    from mmsimclr.prepare.shards import write_shards
    _report_shards(out, write_shards(source, out, images_per_shard, labels, seed, say))


@shards.command(interrupted=GOES_ON)
@click.argument('out', type=click.Path(path_type=Path))
def index(out: Path) -> None:
    """Write index.npz of shards made elsewhere."""
    from mmsimclr.datasets.webdataset_shards import scan_shards
    found = scan_shards(out)
    found.write(out)
    _report_shards(out, found)


def _report_shards(out: Path, found) -> None:
    click.echo(f'{out}: {len(found.offsets)} images in {len(found.names)} shards')


@prepare.command(interrupted=GOES_ON)
@click.argument('folder')
@click.option('--out', default='stats', help='Path of the histogram, without .png.')
@click.option('--workers', type=int, help='Processes.  [default: one for each core]')
def stats(folder: str, out: str, workers: int | None) -> None:
    """Tell what images FOLDER holds: channels, types, sizes, values; and print the lines for a config."""
    from mmsimclr.files import ProgressLine
    from mmsimclr.prepare.statistics import folder_statistics, report_lines, save_histogram
    with ProgressLine() as line:
        found = folder_statistics(folder, out, workers, line)
    for text in report_lines(found):
        click.echo(text)
    click.echo(f'\nhistogram: {save_histogram(found.of_most(), f"{out}.png")}')
