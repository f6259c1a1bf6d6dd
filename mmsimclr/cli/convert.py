"""``mmsimclr convert``: write an encoder for another library."""

import click

from mmsimclr.cli.options import Command, command


class _WithFormats(Command):
    """A command whose help ends with the formats."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the formats and the endings of their files."""
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
