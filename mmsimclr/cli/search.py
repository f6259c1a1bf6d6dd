"""``mmsimclr search``: the images whose features are nearest to those of given images."""

import click

from mmsimclr.cli.options import command, device_option


@command()
@click.argument('images', nargs=-1, required=True, metavar='IMAGE...')
@click.option('--index', required=True, metavar='FEATURES', help='Features to search, from mmsimclr embed.')
@click.option('--checkpoint', help='Their encoder.  [default: the path that the features name]')
@click.option('-k', type=click.IntRange(1), default=10, help='Neighbours of each image.')
@click.option('--out', default='search.jpg', help='Contact sheet to write.')
@device_option
def search(images: tuple[str, ...], index: str, checkpoint: str | None, k: int, out: str,
           device: str) -> None:
    """Find the images nearest to each IMAGE.

    Prints a table, and draws each IMAGE and, to its right, its neighbours, nearest first.
    """
    from mmsimclr.features import Embedder, read_features
    from mmsimclr.features.search import search as run
    from mmsimclr.protocols.result import feature_names
    from mmsimclr.reporting import text_table
    from mmsimclr.reporting.atlas import save_search_sheet
    features = read_features(index)
    embedder = Embedder.of_features(features.manifest, checkpoint, device)
    found = run(features, index, embedder(list(images)), k)
    names = feature_names(features)
    click.echo(text_table(['image', 'neighbour', 'cosine'], [
        [image if not place else '', str(names[row]), f'{similarity:.4f}']
        for image, rows, similarities in zip(images, found.rows, found.similarity, strict=True)
        for place, (row, similarity) in enumerate(zip(rows, similarities, strict=True))]))
    click.echo(f'\n{found.index}, recall@10 {100 * found.recall:.1f} % beside exact search')
    if features.paths is not None:
        click.echo(f'contact sheet  {save_search_sheet(images, features.paths[found.rows], out)}')
