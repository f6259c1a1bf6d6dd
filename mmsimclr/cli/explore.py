"""``mmsimclr explore``: from a folder of images to a page of what is in it."""

import sys
import webbrowser
from pathlib import Path

import click

from mmsimclr.cli.options import command


@command(interrupted='interrupted; the same command goes on from here')
@click.argument('images')
@click.option('--minutes', type=float, default=10, help='Time for pre-training.')
@click.option('--labels', metavar='CSV', help='Labels of some images, columns path and label: then their '
              'accuracy is printed, with an interval.')
@click.option('--checkpoint', help='Weights to use in the place of pre-training: a file, an address or a '
              'model-zoo name.')
@click.option('--work-dir', help='Folder of all that is written.  [default: work_dirs/explore_FOLDER]')
@click.option('--open/--no-open', 'opens', default=None, help='Open the page in the browser.  [default: on a '
              'terminal]')
def explore(images: str, minutes: float, labels: str | None, checkpoint: str | None, work_dir: str | None,
            opens: bool | None) -> None:
    """Pre-train on a folder of images for some minutes, and show a map of them.

    The page has a map, nearest neighbours, duplicates, outliers and a diverse subset. The same command again
    goes on where it stopped, or shows what is there.
    """
    from mmsimclr.exploration import explore as run
    from mmsimclr.quickstart import limit_threads
    limit_threads()
    page = run(images, minutes, labels=labels, checkpoint=checkpoint, work_dir=work_dir, say=click.echo)
    if opens or (opens is None and sys.stdout.isatty()):
        webbrowser.open(Path(page).resolve().as_uri())
