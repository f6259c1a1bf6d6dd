"""The commands that documents tell their readers to type, and whether the project accepts them."""

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import click

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r'^```(?:bash|sh|shell|console)[ ]*\n(.*?)^```', re.MULTILINE | re.DOTALL)
# What the scripts take before the arguments that they hand on to a tool.
LAUNCHERS = {
    'dist_run.sh': ('GPUS', 'TOOL'),
    'dist_train.sh': ('CONFIG', 'GPUS'),
    'dist_benchmark.sh': ('CONFIG', 'CHECKPOINT', 'GPUS'),
    'slurm_train.sh': ('PARTITION', 'JOB', 'CONFIG'),
    'slurm_benchmark.sh': ('PARTITION', 'JOB', 'CONFIG', 'CHECKPOINT'),
}
STARTS = ('make', 'python', 'bash', 'tools/', 'mmsimclr')


class _Parsed(BaseException):
    """Carries the arguments out of a command before it does anything."""


def fenced_commands(markdown: str) -> Iterator[list[str]]:
    """Yield the words of every command in the fenced shell blocks of a Markdown text."""
    for block in FENCE.findall(markdown):
        for line in block.replace('\\\n', ' ').splitlines():
            for part in re.split(r'&&|;', line.strip().removeprefix('$ ')):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r'[A-Z_]+=.*', words[0]):
                    words.pop(0)                             # variables of the environment
                if words and words[0].removeprefix('.venv/bin/').startswith(STARTS):
                    yield [words[0].removeprefix('.venv/bin/'), *words[1:]]


def check_command(words: list[str]) -> str:
    """Fail if the project would refuse a command; return what kind of command it is."""
    program, *args = words
    if program == 'make':
        targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
        unknown = [arg for arg in args if '=' not in arg and arg not in targets]
        assert not unknown, f'the Makefile has no target {unknown}'
        return 'make'
    if program == 'mmsimclr':
        from mmsimclr.cli import main
        _parse(main, 'mmsimclr', args)
        return 'mmsimclr'
    if program.startswith('python'):
        if args[0] == '-c':
            return 'python -c'
        if args[0] == '-m':
            return _check_module(args[1])
    if program.startswith('python') or program == 'bash':
        program, *args = args
    path = ROOT / program
    assert path.is_file(), f'{program} does not exist'
    if path.name in LAUNCHERS:
        _check_launcher(path, args)
    elif path.suffix == '.py' and path.is_relative_to(ROOT / 'tools'):
        _check_tool(path, args)
    return path.name


def _check_module(name: str) -> str:
    if name.startswith('mmsimclr'):
        assert (ROOT / name.replace('.', '/')).with_suffix('.py').is_file(), f'{name} does not exist'
    return name


def _check_launcher(path: Path, args: list[str]) -> None:
    """Check the number of GPUs, and the tool that the launcher starts with the arguments it hands on."""
    usage = LAUNCHERS[path.name]
    values = dict(zip(usage, args, strict=False))
    missing = usage[len(args):]
    assert not missing, f'{path.name} wants {" ".join(missing)} after {args}'
    gpus = values.get('GPUS', '1')
    assert gpus.isdecimal(), f'{path.name} {" ".join(usage)}: the number of GPUs is {gpus!r}'
    tool = values.get('TOOL', f'tools/{path.stem.split("_")[1]}.py')
    assert (ROOT / tool).is_file(), f'{tool} does not exist'
    named = [values[name] for name in ('CONFIG', 'CHECKPOINT') if name in values]
    _check_tool(ROOT / tool, [*named, *args[len(usage):], '--launcher', 'pytorch'])


def _check_tool(path: Path, args: list[str]) -> None:
    """Let the command that a tool calls judge the arguments."""
    commands = [value for value in runpy.run_path(str(path)).values() if isinstance(value, click.Command)]
    if commands:                                             # the pages' tools have none
        _parse(commands[0], path.name, args)


def _parse(command: click.Command, name: str, args: list[str]) -> None:
    """Let a command parse arguments, and the config check its options."""
    def stop(self, context: click.Context) -> None:
        if not isinstance(self, click.Group):
            raise _Parsed(context.params)

    with mock.patch.object(click.Command, 'invoke', stop):
        try:
            command.main(list(args), name, standalone_mode=False)
            return                                           # --help
        except _Parsed as parsed:
            values = parsed.args[0]
        except click.UsageError as refused:
            raise AssertionError(f'{name} refuses {args}: {refused.format_message()}') from refused
    config = values.get('config')
    if config and not config.isupper():                      # CONFIG stands for any
        from mmsimclr.config import load_config
        from mmsimclr.studies import load_study
        here = ROOT / config if (ROOT / config).exists() else config          # else it is a name
        if 'past_gate' in values:                            # of `study`
            if str(config).startswith('configs/'):           # one of yours is not here
                load_study(here, values['preset'], values['cfg_options'])
        else:
            load_config(here, values['cfg_options'])
