"""``mmsimclr publish``: write the model of a training run for others."""

import tempfile
from pathlib import Path

import click

from mmsimclr.cli.options import Several, command


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
    from mmsimclr.reporting.model_card import model_card
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
