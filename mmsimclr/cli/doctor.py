"""``mmsimclr doctor``: print what is installed and what works here."""

import sys

import click


@click.command()
def doctor() -> None:
    """Print what is installed and what works.

    It exits with 1 if pre-training is unusable.
    """
    from mmsimclr.doctor import main
    sys.exit(main())
