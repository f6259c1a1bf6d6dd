"""``mmsimclr zoo``, ``convert`` and ``publish``: checkpoints, fetched and written for others."""

import sys
import tempfile
from pathlib import Path

import click

from mmsimclr.cli.options import Command, Group, Several, command


@click.group(cls=Group)
def zoo() -> None:
    """List, describe, fetch and verify the models of the zoo."""


@zoo.command('list')
@click.argument('pattern', required=False)
def list_(pattern: str | None) -> None:
    """Print a table of the models whose name matches PATTERN, e.g. '*_in1k'; of all without it."""
    from mmsimclr.checkpoints.zoo_index import find_entry
    from mmsimclr.model_zoo import list_models
    from mmsimclr.reporting.results_page import models_table
    click.echo(models_table([find_entry(name) for name in list_models(pattern)]))


@zoo.command()
@click.argument('name')
def info(name: str) -> None:
    """Print everything about one model."""
    from mmsimclr.reporting.results_page import model_info
    click.echo(model_info(name))


@zoo.command()
@click.argument('name')
@click.option('--dest', help='Folder for the file.  [default: MMSIMCLR_CACHE, or ~/.cache/mmsimclr]')
@click.option('--mirror', 'mirrors', multiple=True, metavar='FOLDER_OR_URL',
              help='Where to look first; may be repeated.')
def download(name: str, dest: str | None, mirrors: tuple[str, ...]) -> None:
    """Fetch the published weights of a model."""
    from mmsimclr.checkpoints.zoo import fetch_model
    click.echo(fetch_model(name, dest, mirrors=mirrors))


@zoo.command()
@click.argument('file')
def verify(file: str) -> None:
    """Compare a file with the hash in its name and with the zoo's."""
    from mmsimclr.checkpoints.zoo import verify_file
    verdict = verify_file(file)
    click.echo(verdict.message)
    sys.exit(not verdict.verified)


class _WithFormats(Command):
    """A command whose help ends with the formats."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from mmsimclr.checkpoints.export import FORMATS
        with formatter.section('Formats'):
            formatter.write_dl([(name, f'{chosen.holds} ({" or ".join(chosen.suffixes)})')
                                for name, chosen in FORMATS.items()])


def _known_format(ctx: click.Context, param: click.Parameter, name: str) -> str:
    from mmsimclr.checkpoints.export import FORMATS
    return click.Choice(list(FORMATS)).convert(name, param, ctx)


@command(cls=_WithFormats)
@click.argument('source')
@click.argument('destination')
@click.option('--to', required=True, metavar='FORMAT', callback=_known_format, help='Format to write.')
@click.option('--select', help='Address of the encoder, where the source has several.')
@click.option('--overwrite', is_flag=True, help='Replace the destination if it exists.')
def convert(source: str, destination: str, to: str, select: str | None, overwrite: bool) -> None:
    """Write the encoder of a checkpoint for another library.

    SOURCE is a checkpoint of any library that is read, an address, or a model-zoo name; DESTINATION the file
    to write.
    """
    from mmsimclr.checkpoints.export import convert_checkpoint
    convert_checkpoint(source, destination, to, select=select, overwrite=overwrite, say=click.echo)


@command()
@click.argument('source')
@click.argument('destination', required=False)
@click.option('--to', metavar='hf://OWNER/NAME', help='Upload to a repository of the Hugging Face Hub: '
              'encoder, whole model, and a model card.')
@click.option('--results', cls=Several, multiple=True, type=click.Path(exists=True), metavar='FOLDER ...',
              help='With --to: where the card finds result files of this checkpoint.  [default: its folder]')
def publish(source: str, destination: str | None, to: str | None, results: tuple[str, ...]) -> None:
    """Write the model of a run for others.

    The file has no optimizer and is named by its hash.

    SOURCE is a checkpoint of a run, or its work directory; DESTINATION an existing folder, or a path to which
    -0123abcd.pth is added; with --to, there need be none.
    """
    from mmsimclr.checkpoints import find_checkpoint, read_encoder
    from mmsimclr.checkpoints.export import convert_checkpoint
    from mmsimclr.checkpoints.hub import FILE, upload_to_hub
    from mmsimclr.checkpoints.publish import publish_checkpoint
    from mmsimclr.reporting.results_page import model_card
    if not (destination or to):
        raise click.UsageError('name a DESTINATION, or --to hf://OWNER/NAME')
    if destination:
        path = publish_checkpoint(source, destination)
        click.echo(f'wrote {path} ({path.stat().st_size / 1e6:.1f} MB)')
    if to:
        source = find_checkpoint(source)
        beside = [source.parent] if any(source.parent.rglob('result.json')) else []
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / 'README.md').write_text(
                model_card(read_encoder(source), to, results or beside), encoding='utf-8')
            publish_checkpoint(source, folder)
            convert_checkpoint(source, Path(folder) / FILE, 'safetensors')
            click.echo(f'published at {upload_to_hub(Path(folder), to)}')
