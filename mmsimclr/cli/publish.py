"""``mmsimclr publish``: write the model of a training run for others."""

import click

from mmsimclr.cli.options import command


@command()
@click.argument('source')
@click.argument('destination')
def publish(source: str, destination: str) -> None:
    """Write the model of a run for others.

    The file has no optimizer and is named by its hash.

    SOURCE is a checkpoint of a run, or its work directory; DESTINATION an existing folder, or a path to which
    -0123abcd.pth is added.
    """
    from mmsimclr.checkpoints.publish import publish_checkpoint
    path = publish_checkpoint(source, destination)
    click.echo(f'wrote {path} ({path.stat().st_size / 1e6:.1f} MB)')
