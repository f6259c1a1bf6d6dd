"""``mmsimclr zoo``: list, describe, fetch and verify the models of the zoo."""

import sys

import click

from mmsimclr.cli.options import command


@click.group(context_settings={'help_option_names': ['-h', '--help']})
def zoo() -> None:
    """List, describe, fetch and verify the models of the zoo."""


@command('list')
@click.argument('pattern', required=False)
def list_(pattern: str | None) -> None:
    """Print a table of the models whose name matches PATTERN, e.g. '*_in1k'; of all without it."""
    from mmsimclr.checkpoints.zoo_index import find_entry
    from mmsimclr.model_zoo import list_models
    from mmsimclr.reporting.model_zoo_page import models_table
    click.echo(models_table([find_entry(name) for name in list_models(pattern)]))


@command()
@click.argument('name')
def info(name: str) -> None:
    """Print everything about one model."""
    from mmsimclr.reporting.model_zoo_page import model_info
    click.echo(model_info(name))


@command()
@click.argument('name')
@click.option('--dest', help='Folder for the file.  [default: the cache, see configs/simclr/README.md]')
@click.option('--mirror', 'mirrors', multiple=True, metavar='FOLDER_OR_URL',
              help='Where to look first; may be repeated.')
def download(name: str, dest: str | None, mirrors: tuple[str, ...]) -> None:
    """Fetch the published weights of a model."""
    from mmsimclr.checkpoints.zoo import fetch_model
    click.echo(fetch_model(name, dest, mirrors=mirrors))


@command()
@click.argument('file')
def verify(file: str) -> None:
    """Compare a file with the hash in its name and with the zoo's."""
    from mmsimclr.checkpoints.zoo import verify_file
    verdict = verify_file(file)
    click.echo(verdict.message)
    sys.exit(not verdict.verified)


for each in (list_, info, download, verify):
    zoo.add_command(each)
