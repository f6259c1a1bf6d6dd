"""The ``mmsimclr`` command: one file per subject, imported when a command of it is asked for."""

from importlib import import_module

import click

from mmsimclr.cli.options import HELP
from mmsimclr.errors import did_you_mean
from mmsimclr.version import __version__

#: The file of each command, in the order of a user's way through them.
COMMANDS = {
    'explore': 'train', 'train': 'train', 'embed': 'embed', 'benchmark': 'benchmark', 'report': 'results',
    'search': 'embed', 'configs': 'configs', 'views': 'configs', 'predict': 'benchmark', 'convert': 'zoo',
    'publish': 'zoo', 'zoo': 'zoo', 'prepare': 'prepare', 'doctor': 'configs', 'quickstart': 'train',
    'summarize': 'results', 'compare': 'results', 'shape-bias': 'results', 'study': 'study'}


class LazyGroup(click.Group):
    """Commands that live in files of their own, whose heavy imports wait until the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            ctx.fail(f'no command {name!r}{did_you_mean(name, COMMANDS)}')
        return getattr(import_module(f'mmsimclr.cli.{COMMANDS[name]}'), name.replace('-', '_'))


@click.group(cls=LazyGroup, context_settings=HELP)
@click.version_option(__version__)
def main() -> None:
    """SimCLR pre-training and its benchmarks.

    Values of a config are overridden by KEY=VALUE, anywhere behind the command:
    mmsimclr train CONFIG data_root=photos train_cfg.max_epochs=5
    """
