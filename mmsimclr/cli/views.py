"""``mmsimclr views``: draw images and their random views."""

from collections.abc import Sequence

import click

from mmsimclr.cli.options import Several, command, config_options


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
