"""Parts that commands share: overriding values of a config, and errors in one line."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mmsimclr.errors import InputError

KEY_VALUE = re.compile(r'[A-Za-z_][\w.]*=')
HELP = {'help_option_names': ['-h', '--help']}
GOES_ON = 'interrupted; the same command goes on from here'


class Several(click.Option):
    """An option followed by one value or more: ``--stages pooled layer2``."""


class Command(click.Command):
    """A command that ends with one line at an error that the user can mend.

    Args:
        interrupted: The line at Ctrl-C.
        settings: What click's command takes.
    """

    def __init__(self, *args: Any, interrupted: str = 'interrupted', **settings: Any) -> None:
        self.interrupted = interrupted
        super().__init__(*args, **{'context_settings': {**HELP, 'show_default': True}, **settings})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse words in which KEY=VALUE may stand anywhere and some options have several values."""
        return super().parse_args(ctx, self._one_value_each(args))

    def _one_value_each(self, args: Sequence[str]) -> list[str]:
        """Return the words with each KEY=VALUE, and each value of a Several, behind its own option."""
        options = {name: option for option in self.params if isinstance(option, click.Option)
                   for name in (*option.opts, *option.secondary_opts)}
        words, several, wants_value = [], None, False
        for position, word in enumerate(args):
            if word == '--':
                return words + list(args[position:])
            option = options.get(word)
            if wants_value:
                words.append(word)
                wants_value = False
            elif word.startswith('-') and word != '-':
                words.append(word)
                several = word if isinstance(option, Several) else None
                # The flag_value of an option is what it stands for without a value.
                wants_value = not (option is None or option.is_flag or isinstance(option.flag_value, str))
            elif several:
                words += [several, word]
            elif '--cfg-options' in options and KEY_VALUE.match(word) and not os.path.exists(word):
                words += ['--cfg-options', word]
            else:
                words.append(word)
        return words

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit with status 1 and one line at a user's error, with 130 at Ctrl-C."""
        from mmsimclr.runner.failures import plain_errors
        with plain_errors(self.interrupted):
            for module in filter(None, os.environ.get('MMSIMCLR_IMPORTS', '').split(',')):
                try:
                    import_module(module)                    # which registers components of the user's own
                except ModuleNotFoundError as error:
                    raise InputError(f'MMSIMCLR_IMPORTS={module}: {error} on PYTHONPATH') from error
            return super().invoke(ctx)


command = partial(click.command, cls=Command)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{'context_settings': HELP, **settings})


def parse_options(ctx: click.Context, param: click.Parameter, words: Sequence[str]) -> dict[str, Any]:
    """Return the values of KEY=VALUE words, by key."""
    if not words:
        return {}
    from mmsimclr import config
    from mmsimclr.errors import InputError
    try:
        return config.parse_options(words)
    except InputError as error:
        raise click.BadParameter(str(error)) from error


def launcher_options(function: Callable) -> Callable:
    """Add ``--launcher``, and the option that some launchers append."""
    click.option('--local_rank', '--local-rank', type=int, hidden=True, expose_value=False)(function)
    return click.option('--launcher', type=click.Choice(['none', 'pytorch', 'slurm', 'mpi']), default='none',
                        help='Program that started the processes.')(function)


config_options = click.option(
    '--cfg-options', multiple=True, metavar='KEY=VALUE ...', callback=parse_options,
    help='Override values of the config, e.g. train_cfg.max_epochs=5.')
allow_changed_option = click.option(
    '--allow-changed', multiple=True, metavar='KEY', help='With --resume: go on although KEY of the config, '
    'or encoder.sha256, is not that of the checkpoint; the result says so. May be repeated.')
device_option = click.option('--device', default='auto', help='Device to compute on, e.g. cpu; auto: the GPU '
                             'if there is one.')


def command_line() -> str:
    """Return the command as the user may type it again."""
    program, *args = sys.argv
    words = ['mmsimclr'] if Path(program).name in ('mmsimclr', '__main__.py') else ['python', program]
    return os.environ.get('MMSIMCLR_COMMAND') or shlex.join(words + args)
