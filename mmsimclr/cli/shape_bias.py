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
    rows = []
    for each in found:
        bias = each.bias()
        low, high = bias.interval()
        rows.append([each.observer, *map(str, (bias.num_shape, bias.num_texture, bias.num_conflicts)),
                     f'{bias.percent:.2f}', f'{low:.2f} to {high:.2f}'])
    click.echo(text_table(['observer', 'shape', 'texture', 'of', 'shape bias, %', '95 % interval'], rows))
    for value in published_values('shape bias', 'cue conflict', 'shape_bias_percent'):
        click.echo(f'published: {value}')
    by_category = [each.by_category() for each in found]
    rows = [[name, *(f'{biases[name]:.2f}' if name in biases else '' for biases in by_category)]
            for name in category_classes()]
    click.echo('\n' + text_table(['shape bias by shape, %', *(each.observer for each in found)], rows))
    pairs = []
    for a, b in combinations(found, 2):
        kappa, shared = error_consistency(a, b)
        pairs.append([f'{a.observer} and {b.observer}', f'{kappa:.4f}', str(shared)])
    if pairs:
        click.echo('\n' + text_table(['error consistency', 'kappa', 'stimuli'], pairs))
    if out:
        click.echo(save_shape_bias_figure(out, found))
