"""``mmsimclr report``, ``summarize``, ``compare`` and ``shape-bias``: what runs and results say."""

from itertools import combinations
from pathlib import Path

import click

from mmsimclr.cli.options import GOES_ON, Several, command, device_option


@command(interrupted=GOES_ON)
@click.argument('work_dirs', nargs=-1, required=True, metavar='WORK_DIR...')
@click.option('--images', help='Images of the atlas: a folder, or a config (.py) with a dataset.  [default: '
              'a page without an atlas]')
@click.option('--out', default='report', help='Folder for index.html and the lists.')
@click.option('--checkpoint', help='Encoder of the atlas.  [default: the best or newest of the first run]')
@click.option('--labels', metavar='FILE.csv', help='More to colour the map by: a column path, and others.')
@click.option('--map', 'map_method', type=click.Choice(['pacmap', 'tsne', 'pca']),
              help='[default: pacmap if it is installed, else tsne]')
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


@command()
@click.argument('a')
@click.argument('b')
@click.option('--metric', help="Metric to compare.  [default: the results' own, else top_1_accuracy_percent]")
@click.option('--exchanges', type=int, default=100_000, help='Random exchanges of the permutation test.')
@click.option('--seed', type=int, default=0, help='Seed of the exchanges.')
def compare(a: str, b: str, metric: str | None, exchanges: int, seed: int) -> None:
    """Test the difference of two results.

    A and B are result.json of two evaluations on the same test images, each with its predictions beside it.
    The test is a permutation test.
    """
    import torch

    from mmsimclr.reporting import compare_results
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    click.echo(compare_results(a, b, metric, exchanges, seed, device))


@command('shape-bias')
@click.argument('decisions', nargs=-1, required=True)
@click.option('--out', help='Also draw the biases by category, to this picture.')
def shape_bias(decisions: tuple[str, ...], out: str | None) -> None:
    """Score decisions on the cue-conflict stimuli, and their error consistency.

    DECISIONS are files in model-vs-human's format, one observer each: a model or a person.
    """
    from mmsimclr.evaluation.shape_bias import category_classes, error_consistency, read_decisions
    from mmsimclr.reporting import published_values, save_shape_bias_figure, text_table
    found = [read_decisions(path) for path in decisions]
    rows = [[each.observer, *map(str, each.bias()), f'{each.bias().percent:.2f}',
             '{:.2f} to {:.2f}'.format(*each.bias().interval())] for each in found]
    click.echo(text_table(['observer', 'shape', 'texture', 'of', 'shape bias, %', '95 % interval'], rows))
    for value in published_values('shape bias', 'cue conflict', 'shape_bias_percent'):
        click.echo(f'published: {value}')
    columns = [{name: f'{value:.2f}' for name, value in each.by_category().items()} for each in found]
    click.echo('\n' + text_table(['shape bias by shape, %', *(each.observer for each in found)], [
        [name, *(column.get(name, '') for column in columns)] for name in category_classes()]))
    for a, b in combinations(found, 2):
        kappa, shared = error_consistency(a, b)
        click.echo(f'\nerror consistency of {a.observer} and {b.observer}, {shared} stimuli: {kappa:.4f}')
    if out:
        click.echo(save_shape_bias_figure(out, found))
