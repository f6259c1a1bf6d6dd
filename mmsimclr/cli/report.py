"""``mmsimclr report``: one page on what runs have learnt."""

import click

from mmsimclr.cli.options import command, device_option


@command(interrupted='interrupted; the same command goes on from here')
@click.argument('work_dirs', nargs=-1, required=True, metavar='WORK_DIR...')
@click.option('--images', help='Images of the atlas: a folder, or a config (.py) with a dataset.  [default: '
              'a page without an atlas]')
@click.option('--out', default='report', help='Folder for index.html and the lists.')
@click.option('--checkpoint', help='Encoder of the atlas.  [default: the best or newest of the first run]')
@click.option('--labels', metavar='FILE.csv', help='More to colour the map by: a column path, and others.')
@click.option('--map', 'map_method', help='pacmap, umap, tsne or pca.  [default: pacmap if it is installed, '
              'else tsne]')
@click.option('--seed', type=click.IntRange(0, 2**31 - 1), default=0,
              help='Seed of the map and the clusters.')
@click.option('--clusters', 'num_clusters', type=click.IntRange(2), help='Number of clusters.  [default: '
              'that with the best silhouette]')
@click.option('--diverse', 'num_diverse', type=click.IntRange(1), default=60, help='Images of the diverse '
              'subset.')
@click.option('--parquet', is_flag=True, help='Write atlas.parquet: paths, map, labels, features.')
@click.option('--projector', is_flag=True, help="Write a folder for TensorBoard's projector.")
@click.option('--num-workers', type=int, default=0, help='Processes that read images.')
@device_option
def report(work_dirs: tuple[str, ...], images: str | None, out: str, **settings: object) -> None:
    """Write one page on what runs have learnt.

    WORK_DIR is the folder of a pre-training run. Results of protocols below it are on the page, too.
    """
    from mmsimclr.files import ProgressLine
    from mmsimclr.reporting.report import write_report
    with ProgressLine() as progress:
        click.echo(f'page        {write_report(work_dirs, images, out, progress=progress, **settings)}')
