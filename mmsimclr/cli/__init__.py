"""The ``mmsimclr`` command: one file per subcommand, imported when it is asked for."""

from importlib import import_module

import click

from mmsimclr.errors import did_you_mean
from mmsimclr.version import __version__

COMMANDS = ('explore', 'train', 'embed', 'benchmark', 'report', 'search', 'configs', 'views', 'predict',
            'convert', 'publish', 'zoo', 'prepare', 'doctor', 'quickstart', 'summarize', 'compare',
            'shape-bias', 'study')


class LazyGroup(click.Group):
    """Commands that live in files of their own, whose heavy imports wait until the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of a user's way through them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            ctx.fail(f'no command {name!r}{did_you_mean(name, COMMANDS)}')
        module = name.replace('-', '_')
        return getattr(import_module(f'mmsimclr.cli.{module}'), module)


@click.group(cls=LazyGroup, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(__version__)
def main() -> None:
    """SimCLR pre-training and its benchmarks.

    Values of a config are overridden by KEY=VALUE, anywhere behind the command:
    mmsimclr train CONFIG data_root=photos train_cfg.max_epochs=5
    """
