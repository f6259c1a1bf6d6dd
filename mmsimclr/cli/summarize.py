"""``mmsimclr summarize``: all results below some folders in one table."""

from pathlib import Path

import click

from mmsimclr.cli.options import Several, command


@command()
@click.argument('folders', nargs=-1, required=True)
@click.option('--out', cls=Several, multiple=True, metavar='FILE ...',
              help='Write it to these files, .md or .html.  [default: print it as Markdown]')
def summarize(folders: tuple[str, ...], out: tuple[str, ...]) -> None:
    """Put all results into one table.

    FOLDERS are work directories; they are searched at any depth.
    """
    unknown = [path for path in out if Path(path).suffix not in ('.md', '.html')]
    if unknown:
        raise click.UsageError(f'--out must end in .md or .html, got {", ".join(unknown)}')
    from mmsimclr import reporting
    summary = reporting.summarize(folders)
    for path in map(Path, out):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(summary.html() if path.suffix == '.html' else summary.markdown(), encoding='utf-8')
        click.echo(f'wrote {path}')
    if not out:
        click.echo(summary.markdown(), nl=False)
