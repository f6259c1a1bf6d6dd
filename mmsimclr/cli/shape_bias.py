"""``mmsimclr shape-bias``: score decisions on the cue-conflict stimuli."""

from itertools import combinations

import click

from mmsimclr.cli.options import command


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
