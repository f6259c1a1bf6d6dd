"""``mmsimclr quickstart``: pre-train on the built-in images and show the result."""

import click

from mmsimclr.cli.options import command, config_options

CONFIG = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'


@command()
@click.argument('config', default=CONFIG)
@click.option('--work-dir', default='work_dirs/quickstart', help='Folder of results and pictures.')
@click.option('--seed', type=click.IntRange(0, 2**32 - 1),
              help="Seed of weights and views.  [default: the config's]")
@click.option('--deterministic', is_flag=True, help='Deterministic algorithms only.')
@config_options
def quickstart(config: str, work_dir: str, seed: int | None, deterministic: bool, cfg_options: dict) -> None:
    """Pre-train on built-in images, show the gain."""
    from mmsimclr.quickstart import limit_threads
    from mmsimclr.quickstart import quickstart as run
    limit_threads()
    if deterministic:
        cfg_options['randomness.deterministic'] = True
    run(config, work_dir, cfg_options, seed)
