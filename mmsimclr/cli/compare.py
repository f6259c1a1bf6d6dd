"""``mmsimclr compare``: test the difference of two results."""

import click

from mmsimclr.cli.options import command


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
