"""``mmsimclr configs``, ``views`` and ``doctor``: what there is, what it shows, and what works here."""

import ast
import fnmatch
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mmsimclr.cli.options import Group, Several, command, config_options


@click.group(cls=Group)
def configs() -> None:
    """List, show and copy the configs that come with it."""


@configs.command('list')
@click.argument('pattern', default='*')
def list_(pattern: str) -> None:
    """Print the configs whose name or folder matches PATTERN, e.g. '*_folder' or simclr; all without it."""
    from mmsimclr.files.shipped import shipped_configs, shipped_root
    folder = None
    for name, path in shipped_configs().items():
        parent = path.parent.relative_to(shipped_root() / 'configs').as_posix()
        if not any(fnmatch.fnmatch(each, pattern) for each in (name, parent)):
            continue
        if parent != folder:
            click.echo(f'{parent}:')
            folder = parent
        text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        click.echo(f'  {name}\n      {text.partition(chr(10))[0]}')


@configs.command()
@click.argument('name')
def show(name: str) -> None:
    """Print a config: what it is for, what it needs, and what can be changed at its top."""
    from mmsimclr.files.shipped import find_config
    click.echo(find_config(name).read_text(encoding='utf-8'), nl=False)


@configs.command()
@click.argument('name')
@click.argument('folder', default='configs')
def copy(name: str, folder: str) -> None:
    """Copy a config, and the bases that it reads, into FOLDER, to be changed there.

    It keeps the place that it has below configs/. A base that is there already stays as it is.
    """
    from mmsimclr.config.load import bases_of
    from mmsimclr.errors import ExistingFileError
    from mmsimclr.files.shipped import find_config, shipped_root
    source, root = find_config(name).resolve(), (shipped_root() / 'configs').resolve()
    to_copy, copies = [source], []
    for path in to_copy:
        copied = Path(folder) / path.relative_to(root)
        if path == source and copied.exists():
            raise ExistingFileError(f'{copied} is there: name another FOLDER, or remove it')
        copies.append(copied)
        to_copy += [base for each in bases_of(path) if (base := each.resolve()) not in to_copy]
    for path, copied in zip(to_copy, copies, strict=True):
        if not copied.exists():
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
    click.echo(copies[0])


@command()
@click.argument('config')
@click.option('--out', default='views.png', help='Picture to write.')
@click.option('--num-images', type=int, default=8, help='Rows.')
@click.option('--num-draws', type=int, default=4, help='Draws per image.')
@click.option('--bands', cls=Several, multiple=True, type=int,
              help='One channel to show, or red, green and blue; counted from 0.  [default: the first]')
@click.option('--colormap', help='Colour map for one channel: viridis, turbo, bone, ...')
@click.option('--seed', type=int, default=0, help='Seed of the choice of images.')
@config_options
def views(config: str, out: str, num_images: int, num_draws: int, bands: Sequence[int],
          colormap: str | None, seed: int, cfg_options: dict) -> None:
    """Draw images and their random views.

    The train_dataloader of CONFIG makes the views.
    """
    import numpy as np
    from mmengine.registry import init_default_scope

    from mmsimclr.config import load_config
    from mmsimclr.registry import DATASETS
    from mmsimclr.reporting import save_views_sheet
    settings = load_config(config, cfg_options)
    init_default_scope(settings.get('default_scope', 'mmsimclr'))     # types may be named by strings
    dataset = DATASETS.build(settings.train_dataloader.dataset)
    count = min(num_images, len(dataset))
    indices = np.random.default_rng(seed).choice(len(dataset), count, replace=False)
    path = save_views_sheet(dataset, out, sorted(map(int, indices)), num_draws, bands or None, colormap)
    click.echo(f'{count} of {len(dataset)} images and their views: {path}')


@click.command()
def doctor() -> None:
    """Print what is installed and what works.

    It exits with 1 if pre-training is unusable.
    """
    from mmsimclr.doctor import main
    sys.exit(main())
